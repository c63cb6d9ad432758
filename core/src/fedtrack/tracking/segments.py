"""The files of a spool: how they are named, created, locked and listed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path
from time import time_ns
from typing import NamedTuple

from fedtrack.tracking import frames

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})\.spool\Z")


class Segment(NamedTuple):
    """A file of a stream; sorts in the order in which a stream's segments were written."""

    first_seq: int
    path: Path


def create_segment(folder: Path, stream: str, first_seq: int, *, continues: bool = False) -> int:
    """Create a segment, with its header and its lock, and return the descriptor to append to.

    Args:
        folder: The spool.
        stream: The stream's id.
        first_seq: Number of the first record.
        continues: Whether the stream has earlier segments.

    The lock is held until the process is gone, however it goes: a reader's proof that nothing will follow.

    Raises:
        OSError: There is no room, or the folder cannot be written; nothing is left behind.
    """
    path = folder / f"{stream}-{first_seq:016x}.spool"
    hidden = path.with_suffix(".new")
    flags = frames.CONTINUES if continues else 0
    head = frames.header(bytes.fromhex(stream), first_seq, time_ns(), flags)
    descriptor = os.open(hidden, _CREATE, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.write(descriptor, head) != len(head):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        hidden.rename(path)
    except BaseException:
        os.close(descriptor)
        hidden.unlink(missing_ok=True)
        raise
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make the names of a folder's files survive the loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_streams(folder: Path) -> dict[str, list[Segment]]:
    """Return the segments of every stream in a spool folder, each in writing order and without a hole."""
    # A listing may show a segment that was created while it ran and miss an older one. Whatever is older than
    # what the first listing shows is in the second one.
    newest = {stream: segments[-1] for stream, segments in _list_once(folder).items()}
    return {
        stream: [segment for segment in segments if segment <= newest[stream]]
        for stream, segments in _list_once(folder).items()
        if stream in newest
    }


def _list_once(folder: Path) -> dict[str, list[Segment]]:
    streams: dict[str, list[Segment]] = {}
    if not folder.is_dir():
        return streams
    for path in folder.iterdir():
        if match := _NAME.match(path.name):
            streams.setdefault(match[1], []).append(Segment(int(match[2], 16), path))
    for segments in streams.values():
        segments.sort()
    return streams


def continues(path: Path) -> bool:
    """Return whether a segment says that its stream has earlier ones."""
    try:
        with path.open("rb") as file:
            head = frames.read_header(file.read(frames.HEADER_SIZE))
    except FileNotFoundError:
        return False
    return head is not None and head.continues


def is_open(path: Path) -> bool:
    """Return whether the process that writes a segment still has it open: it holds a lock as long as it lives."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks: the engine's word must do
    finally:
        os.close(descriptor)
    return False
