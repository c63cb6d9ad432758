"""Files that are written completely or not at all, and folders for temporary ones.

A full disk or a killed process never leaves a part of a file. The folder of a killed process is deleted by the next
one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from uuid import uuid4

from fedtrack.errors import WorkspaceError


class NoRoomError(WorkspaceError):
    """A file cannot be written now, because the disk or a quota is full."""


class NotPlainError(OSError):
    """A path of another process leads to something else than a file of that process, such as a pipe or a link."""


def open_plain(path: Path) -> FileIO:
    """Open a file that another process has written, for reading, without a buffer.

    Whatever that process has put at ``path``: nothing is followed, waited for or read that is no file of its own.

    Raises:
        NotPlainError: It is a link, a pipe, a socket, a device, a folder, or a file of another user.
        OSError: It cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):
            raise NotPlainError(error.errno, f"is {_kind_at(path)} and no file") from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotPlainError(errno.EINVAL, f"is {_kind(found.st_mode)} and no file")
        if found.st_uid != os.geteuid() and found.st_uid != path.parent.stat().st_uid:
            raise NotPlainError(errno.EPERM, f"belongs to the user {found.st_uid}")
    except BaseException:
        os.close(descriptor)
        raise
    return FileIO(descriptor)


def read_plain(path: Path, most: int) -> bytes:
    """Return the first ``most`` bytes of a file that another process has written; see ``open_plain``."""
    with open_plain(path) as file:
        return file.read(most) or b""


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


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder (0700) in ``<parent>/scratch``, which is deleted at the end of the block.

    Folders there of processes that were killed are deleted first. The system's folder for temporary files would keep
    them for ever: whole artifacts, for each kill.

    Args:
        parent: A folder of the run.

    Raises:
        OSError: The folder cannot be created.
    """
    home = parent / "scratch"
    with contextlib.suppress(FileNotFoundError):
        for left in home.iterdir():
            _delete_unused(left)
    folder, lock = _new_locked(home)
    try:
        yield folder
    finally:
        _delete(folder)
        os.close(lock)
        with contextlib.suppress(OSError):  # another process uses it
            home.rmdir()


def _new_locked(home: Path) -> tuple[Path, int]:
    """Create a folder and lock it; the kernel releases the lock when this process ends in any way."""
    while True:
        folder = home / uuid4().hex
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, FileExistsError):  # another process has deleted it, or its home, at this moment
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder, lock
        os.close(lock)


def _delete_unused(folder: Path) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _delete(folder)
        finally:
            os.close(lock)


def _delete(folder: Path) -> None:
    from shutil import rmtree  # takes milliseconds, which sites that only log need not spend

    rmtree(folder, ignore_errors=True)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _kind_at(path: Path) -> str:
    try:
        return _kind(path.lstat().st_mode)
    except OSError:
        return "something else"


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")
