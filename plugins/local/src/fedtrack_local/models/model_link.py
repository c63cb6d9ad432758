"""Model links: a model that was read from a file is handed over as a hard link to that file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedtrack.files import unwritable, written_beside
from fedtrack_local.models.model_map import ModelMap, map_under
from fedtrack_local.models.params import save_params


def hand_over(params: Mapping[str, Any], target: Path) -> None:
    """Make ``target`` a file that holds ``params``; an existing file is replaced in one step.

    If ``params`` are exactly the tensors of a mapped file, ``target`` becomes a hard link to that file. They are
    written again if the file has been replaced or cannot be linked to.

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


def copy_for(source: Path, target: Path) -> None:
    """Make ``target`` a copy of ``source`` (0600), which its owner may change. An existing file is replaced.

    Raises:
        WorkspaceError: The file cannot be copied.
    """
    try:
        with written_beside(target) as new:
            shutil.copyfile(source, new)
            new.chmod(0o600)
    except OSError as error:
        raise unwritable(f"the model {target}", error) from None
