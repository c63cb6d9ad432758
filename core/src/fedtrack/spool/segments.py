"""Segments: the files of a spool, and how they are named, created, locked and listed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path
from time import monotonic, time_ns
from typing import NamedTuple

from fedtrack.files import NotPlainError, open_plain
from fedtrack.spool import frames

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

#: The resolution of a folder's modification time: that of the kernel's clock, or coarser on old file systems.
_SETTLED_NS = 100_000_000
#: The longest use of a listing: a file system may have no modification times.
_LISTED_SECONDS = 1.0

#: The folder of a spool's damaged segments; no reader looks into it.
DAMAGED_FOLDER = "damaged"

_NAME = re.compile(r"([0-9a-f]{32})(?:-([0-9a-f]{16})\.spool|\.counts)\Z")


class Segment(NamedTuple):
    """A file of a stream; sorts in the order in which a stream's segments were written."""

    first_seq: int
    path: Path


def segment_name(stream: str, first_seq: int) -> str:
    """Return the name of the segment of a stream whose first record has the number ``first_seq``."""
    return f"{stream}-{first_seq:016x}.spool"


def create_segment(
    folder: Path,
    stream: str,
    first_seq: int,
    *,
    continues: bool = False,
    round: int | None = None,
    previous: frames.Link | None = None,
) -> int:
    """Create a segment with its header and its lock, and return the descriptor for appending.

    Args:
        folder: The spool.
        stream: The stream's id.
        first_seq: Number of the first record.
        continues: Whether the stream has earlier segments.
        round: The round of the first record; None if it is unknown.
        previous: The segment before it; None if there is none.

    The lock is held until the process ends in any way. It tells a reader whether more can follow.

    Raises:
        OSError: There is no room, or the folder cannot be written; nothing is left behind.
    """
    path = folder / segment_name(stream, first_seq)
    hidden = path.with_suffix(".new")
    flags = frames.CONTINUES if continues else 0
    head = frames.header(bytes.fromhex(stream), first_seq, time_ns(), flags, round, previous)
    hidden.unlink(missing_ok=True)  # of a call that was interrupted: the name is this stream's alone
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
    return {stream: segments for stream, segments in list_files(folder).segments.items() if segments}


class Files(NamedTuple):
    """The files in a spool folder.

    Attributes:
        segments: The segments by stream, in writing order and without a hole; a stream with only a page has none.
        pages: The streams that have a page of counts.
    """

    segments: dict[str, list[Segment]]
    pages: frozenset[str]


def list_files(folder: Path) -> Files:
    """Return the files of every stream in a spool folder."""
    # A listing may show a segment that was created while it ran, and miss an older one or the stream's page. Every file
    # older than one in the first listing is in the second one.
    newest = {stream: segments[-1] for stream, segments in _list_once(folder).segments.items()}
    found, pages = _list_once(folder)
    segments = {
        stream: [segment for segment in found[stream] if segment <= last]
        for stream, last in newest.items()
        if stream in found
    }
    # All segments of the first listing may be deleted by now: then the stream waits for the next listing.
    return Files({stream: [] for stream in pages - found.keys()} | segments, pages)


class Listing:
    """The files in a spool folder, listed again only if they may have changed.

    Args:
        folder: The spool; need not exist yet.

    Attributes:
        times: How often the folder was listed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = Files({}, frozenset())
        self._changed_ns = -1
        self._until = 0.0
        self.times = 0

    def files(self, *, fresh: bool = False) -> Files:
        """Return the result of ``list_files`` at the last change of the folder.

        Args:
            fresh: Whether to list the folder in any case.
        """
        before_ns = time_ns()
        try:
            changed_ns = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - Path.stat costs twice as much
        except FileNotFoundError:
            return Files({}, frozenset())
        if fresh or changed_ns != self._changed_ns or monotonic() >= self._until:
            self._files = list_files(self._folder)
            self.times += 1
            # Changed so recently that another change may have the same time: look again at the next call.
            self._changed_ns = changed_ns if changed_ns + _SETTLED_NS < before_ns else -1
            self._until = monotonic() + _LISTED_SECONDS
        return self._files


def remove(path: Path, *, damaged: bool) -> None:
    """Delete a segment; a damaged one is moved into the folder ``damaged`` beside it, because it is evidence."""
    if not damaged:
        path.unlink(missing_ok=True)
        return
    folder = path.parent / DAMAGED_FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        path.rename(folder / path.name)
    except FileNotFoundError:
        pass
    except OSError:  # the site has put something else there, and so has no use for the evidence
        with contextlib.suppress(OSError):
            path.unlink()


def _list_once(folder: Path) -> Files:
    streams: dict[str, list[Segment]] = {}
    pages: set[str] = set()
    if not folder.is_dir():
        return Files(streams, frozenset())
    for name in os.listdir(folder):  # noqa: PTH208 - a Path only for segments
        match = _NAME.match(name)
        if match is None:
            continue
        if match[2] is None:
            pages.add(match[1])
        else:
            streams.setdefault(match[1], []).append(Segment(int(match[2], 16), folder / name))
    for segments in streams.values():
        segments.sort()
    return Files(streams, frozenset(pages))


def continues(path: Path) -> bool:
    """Return whether a segment says that its stream has earlier ones."""
    head = _header_of(path)
    return head is not None and head.continues


def link_of(path: Path) -> frames.Link | None:
    """Return the description of the segment before this one; None if there is none."""
    head = _header_of(path)
    return None if head is None else head.previous


def _header_of(path: Path) -> frames.Header | None:
    try:
        file = open_plain(path)
    except (FileNotFoundError, NotPlainError):
        return None
    with file:
        return frames.read_header(file.read(frames.MAX_HEADER_SIZE))


def is_open(path: Path) -> bool:
    """Return whether the writing process of a segment or a page still has it open.

    The process holds a lock on the file as long as it lives.
    """
    try:
        file = open_plain(path)
    except (FileNotFoundError, NotPlainError):
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks: only the engine knows whether the process has ended
    finally:
        file.close()
    return False
