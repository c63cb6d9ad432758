"""Hands a model over as a file: as a second name of the file that it was read from, if there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedtrack.errors import WorkspaceError
from fedtrack.files import written_beside
from fedtrack_local.models.model_map import ModelMap, map_under
from fedtrack_local.models.params import save_params


def hand_over(params: Mapping[str, Any], target: Path) -> None:
    """Make ``target`` a file that holds ``params``, replacing what is there in one step.

    Params that are exactly the tensors of a mapped file are not written again: ``target`` becomes a hard link of
    that file. They are written if the file has been replaced or cannot be linked to.

    Raises:
        ModelError, WorkspaceError: As ``save_params``.
    """
    mapped = map_under(next(iter(params.values()), None))
    if mapped is None or not mapped.holds(params) or not _link(mapped, target):
        save_params(params, target)


def _link(mapped: ModelMap, target: Path) -> bool:
    """Make ``target`` a second name of a mapped file; return whether that was possible."""
    try:
        with written_beside(target) as link:
            os.link(mapped.path, link)
            status = link.stat()
            if (status.st_dev, status.st_ino) != mapped.device_and_inode:
                raise FileNotFoundError(f"{mapped.path} is another file by now")
    except OSError:
        return False
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a second name of ``source``, replacing what is there in one step.

    Readers of both names share one file in memory. Where a file cannot have a second name (a file system without
    hard links, another file system, too many names) it is copied.

    Raises:
        WorkspaceError: The file cannot be copied either.
    """
    try:
        with written_beside(target) as new:
            try:
                os.link(source, new)
            except OSError:
                shutil.copyfile(source, new)
                new.chmod(0o600)
    except OSError as error:
        raise WorkspaceError(f"Cannot write the model {target}: {error}; free space or check rights.") from None
