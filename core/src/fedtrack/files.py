"""Files that are written completely or not at all: a full disk or a killed process never leaves a part of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from fedtrack.errors import WorkspaceError


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to a file (0600) at ``path``. An existing file is replaced in one step.

    Raises:
        WorkspaceError: The file cannot be written; an existing file is unchanged.
    """
    try:
        with written_beside(path) as temporary, open(temporary, "xb", opener=_private) as file:
            file.write(data)
    except OSError as error:
        raise WorkspaceError(f"Cannot write {path}: {error.strerror}; free space or check rights.") from None


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write, which replaces ``path`` in one step at the end of the block.

    If the block raises, the new file is deleted, and an existing file at ``path`` is unchanged.

    Raises:
        OSError: The new file does not exist at the end of the block, or cannot replace ``path``.
    """
    temporary = path.with_name(f".{uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive the loss of power.

    Raises:
        OSError: The disk does not confirm it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
