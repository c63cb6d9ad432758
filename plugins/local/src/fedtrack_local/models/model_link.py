"""Model links: a model that was read from a file is handed over as a hard link to that file."""

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
    """Make ``target`` a file that holds ``params``; an existing file is replaced in one step.

    If ``params`` are exactly the tensors of a mapped file, ``target`` becomes a hard link to that file. They are
    written again if the file has been replaced or cannot be linked to.

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
    """Make ``target`` a hard link to ``source``; an existing file is replaced in one step.

    Readers of both names share the same memory. The file is copied if a hard link is not possible: the file system has
    none, the target is on another one, or the file has too many links.

    Raises:
        WorkspaceError: The file can be neither linked nor copied.
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
