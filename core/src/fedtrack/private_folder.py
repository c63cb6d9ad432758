"""PrivateFolder: folders and files that only their owner can read, and the folder of the user's state.

A workspace holds models and metrics of patients, and whoever can write into it can change them. So a folder is used
only if it is this user's and nobody else can write into it or replace it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedtrack.errors import WorkspaceError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MASK = 0o077


def state_folder() -> Path:
    """Return the folder of this user's state, ``$XDG_STATE_HOME/fedtrack`` or ``~/.local/state/fedtrack``."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "fedtrack"


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Let every file that this process creates meanwhile be readable for its owner only."""
    before = os.umask(_MASK)
    try:
        yield
    finally:
        os.umask(before)


def private_folder(path: Path, what: str, marks: Sequence[str] = ()) -> Path:
    """Create a folder (0700), or take the one that is there, and return its absolute path.

    A folder that fedtrack has filled before is closed to others with everything in it (0700, 0600), if they could read
    it until now. An empty one is closed itself. One with other content stays as it is: it may be the user's home.

    Args:
        path: The folder.
        what: Its name in messages, such as ``workspace``.
        marks: Paths in it, of which one is there if fedtrack has filled it.

    Raises:
        WorkspaceError: It cannot be created, belongs to somebody else, or others can write into it or replace it.
    """
    path = path.absolute()
    try:
        _check_way(path, what)
        with private_files():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        _check(path, found, what)
        if found.st_mode & _OTHERS:
            if any((path / mark).exists() for mark in marks):
                close_to_others(path)
            elif not any(path.iterdir()):
                path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    except OSError as error:
        raise WorkspaceError(
            f"The {what} {str(path)!r} cannot be used: {error.strerror}; choose a folder that you can write."
        ) from None
    return path


def close_to_others(folder: Path) -> None:
    """Take the rights of others from a folder and everything in it; what cannot be changed is left as it is."""
    for place, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        del place
        for name in (".", *folders, *files):
            with contextlib.suppress(OSError):
                mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
                if mode & _OTHERS and not stat.S_ISLNK(mode):
                    os.chmod(name, stat.S_IMODE(mode) & ~_OTHERS, dir_fd=descriptor)


def _check(path: Path, found: os.stat_result, what: str) -> None:
    if found.st_uid != os.getuid():
        raise WorkspaceError(
            f"The {what} {str(path)!r} belongs to the user {_user(found.st_uid)}, who could change what is in it; "
            "choose a new folder."
        )
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)):
        raise WorkspaceError(
            f"Others can write into the {what} {str(path)!r}, and may have done so; choose a new folder, or look at "
            f"what is in it and run: chmod -R go-rwx {path}"
        )


def _check_way(path: Path, what: str) -> None:
    """Refuse a way through a folder of everybody, such as /tmp, in which somebody else has made the next step."""
    shared = False
    for step in (*reversed(path.parents), path):
        try:
            found = step.lstat()
        except FileNotFoundError:
            return
        if shared and found.st_uid not in (0, os.getuid()):
            raise WorkspaceError(
                f"The {what} {str(path)!r} is reached through {str(step)!r}, which belongs to the user "
                f"{_user(found.st_uid)}; choose a new folder."
            )
        shared = shared or bool(found.st_mode & stat.S_IWOTH and stat.S_ISDIR(found.st_mode))


def _is_own_group(group: int) -> bool:
    """Return whether a group has this user as its only member, as many systems make one for each user."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_gid == user.pw_gid and found.gr_name == user.pw_name and not set(found.gr_mem) - {user.pw_name}


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
