"""Files that are written completely or not at all: a full disk or a killed process never leaves a part of one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from fedtrack.errors import WorkspaceError


class NoRoomError(WorkspaceError):
    """A file cannot be written now, because the disk or a quota is full."""


def unwritable(what: str, error: Exception) -> WorkspaceError:
    """Return the error for a file that cannot be written: NoRoomError if it can be written when there is room again.

    Args:
        what: The file, for people.
        error: The error of the operating system, or of a library that has only kept its text.
    """
    numbers = (errno.ENOSPC, errno.EDQUOT)
    full = getattr(error, "errno", None) in numbers or any(f"os error {number}" in str(error) for number in numbers)
    reason = getattr(error, "strerror", None) or error
    return (NoRoomError if full else WorkspaceError)(f"Cannot write {what}: {reason}; free space or check rights.")


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to a file (0600) at ``path``. An existing file is replaced in one step.

    Raises:
        WorkspaceError: The file cannot be written; an existing file is unchanged.
    """
    try:
        with written_beside(path) as temporary, open(temporary, "xb", opener=_private) as file:
            file.write(data)
    except OSError as error:
        raise unwritable(str(path), error) from None


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


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
