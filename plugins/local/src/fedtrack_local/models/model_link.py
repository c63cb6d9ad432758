"""Hands a model over as a file: as a second name of the file that it was read from, if there is one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from fedtrack.errors import WorkspaceError
from fedtrack_local.models.model_map import map_under
from fedtrack_local.models.params import save_params


def hand_over(params: Mapping[str, Any], target: Path) -> None:
    """Make ``target`` a file that holds ``params``, replacing what is there in one step.

    Params that are exactly the tensors of a mapped file are not written again: ``target`` becomes a hard link of
    that file. They are written if the file has been replaced or cannot be linked to.

    Raises:
        ModelError, WorkspaceError: As ``save_params``.
    """
    mapped = map_under(next(iter(params.values()), None))
    if mapped is not None and mapped.holds(params):
        link = _beside(target)
        with contextlib.suppress(OSError):
            os.link(mapped.path, link)
            status = link.stat()
            if (status.st_dev, status.st_ino) == mapped.device_and_inode:
                link.replace(target)
                return
        link.unlink(missing_ok=True)
    save_params(params, target)


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a second name of ``source``, replacing what is there in one step.

    Readers of both names share one file in memory. Where a file cannot have a second name (a file system without
    hard links, another file system, too many names) it is copied.

    Raises:
        WorkspaceError: The file cannot be copied either.
    """
    new = _beside(target)
    try:
        try:
            os.link(source, new)
        except OSError:
            shutil.copyfile(source, new)
            new.chmod(0o600)
        new.replace(target)
    except OSError as error:
        raise WorkspaceError(f"Cannot write the model {target}: {error}; free space or check rights.") from None
    finally:
        new.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{uuid4().hex}")
