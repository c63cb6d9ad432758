"""RuntimeFolder: the private folder of a server's socket; its path is short, because AF_UNIX addresses are."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import time
from uuid import uuid4

from fedtrack.errors import WorkspaceError

#: The most bytes of a Unix socket's path: 103 on macOS, 107 on Linux.
MAX_ADDRESS = 103

_PREFIX = "fedtrack-"
#: The prefix of a folder that nobody has locked yet.
_NEW = "fedtrack.new-"
_SOCKET = "server"
#: Seconds after which a folder that nobody has locked must belong to a process that died.
_NEW_SECONDS = 3600.0


class RuntimeFolder:
    """A folder (0700) with an unpredictable name in ``XDG_RUNTIME_DIR``, or in the folder for temporary files.

    It is removed by ``close``. The folders of servers that were killed are removed by the next RuntimeFolder: each has
    a lock that the kernel releases with its process.

    Raises:
        WorkspaceError: No folder can be created.
    """

    def __init__(self) -> None:
        self._lock = -1
        refusals: list[str] = []
        for base in _bases():
            with contextlib.suppress(OSError):
                _remove_left_over(base)
            try:
                self.path = self._create(base)
                return
            except OSError as error:
                refusals.append(f"{base} ({error.strerror})")
        raise WorkspaceError(
            f"No folder for the socket of the sites can be created in {', '.join(refusals)}; set XDG_RUNTIME_DIR to a "
            "folder that only you can use and whose path is short."
        )

    @property
    def address(self) -> str:
        """The path of the socket."""
        return str(self.path / _SOCKET)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _create(self, base: Path) -> Path:
        # Other servers remove folders without a lock, so it gets its name after it has been locked.
        new = Path(tempfile.mkdtemp(prefix=_NEW, dir=base))
        try:
            self._lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            return new.rename(base / f"{_PREFIX}{uuid4().hex[:12]}")
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise


def _bases() -> Iterator[Path]:
    """Yield the folders in which a socket's address is short enough."""
    private = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(private) and _is_private(Path(private)):  # noqa: PTH117 - an empty text is no path
        yield from _short(Path(private))
    yield from _short(Path(tempfile.gettempdir()))
    yield Path("/tmp")  # noqa: S108 - the name in it is not predictable, and the folder is private


def _short(base: Path) -> Iterator[Path]:
    if len(os.fsencode(base / f"{_PREFIX}{'x' * 12}" / _SOCKET)) <= MAX_ADDRESS:
        yield base


def _is_private(folder: Path) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _remove_left_over(base: Path) -> None:
    """Remove the folders of this user's servers that were killed."""
    for name in os.listdir(base):  # noqa: PTH208 - thousands of names, of which few are looked at
        if not name.startswith((_PREFIX, _NEW)):
            continue
        folder = base / name
        with contextlib.suppress(OSError):
            status = folder.lstat()
            is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            is_new = name.startswith(_NEW) and time() - status.st_mtime < _NEW_SECONDS
            if is_ours and not is_new and _holds_only_a_socket(folder) and not _is_locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _holds_only_a_socket(folder: Path) -> bool:
    """Return whether a folder is one of ours and not one whose name only looks like it."""
    return all(child.name == _SOCKET and stat.S_ISSOCK(child.lstat().st_mode) for child in folder.iterdir())


def _is_locked(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
