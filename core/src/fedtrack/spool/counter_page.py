"""CounterPage: counts a stream's log calls that became no event, also on a full disk.

On a full disk nothing can be appended. A page of 4 KiB that was written before the first record can still be changed:
it is a file and also a part of the process's memory. An update is a store of eight bytes; it costs nothing measurable
and survives SIGKILL. (A counter in a segment's header would not work: segments are opened to append, and Linux then
appends every write, also one with an offset.)

``magic 8 | format u32 | size u32 | stream 16 | zero 24 | crc32 u32``, little-endian, 60 bytes. The checksum covers the
bytes before it. From byte 64 on: dropped u64, withheld u64, rejected u64. Then, from byte 88 on, the stream's extent:
first u64, size u64, stored u64; see ``Extent``. At byte 112 is a u64 of the shipper; see ``note_sent``. The rest is
zero and free for later counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from fedtrack.files import NotPlainError, read_plain
from fedtrack.tracking.counts import Counts

SUFFIX = ".counts"
PAGE_SIZE = 4096
MAGIC = b"fedcount"
FORMAT = 2

_HEAD = struct.Struct("<8sII16s24x")
_CRC = struct.Struct("<I")
_COUNTS = struct.Struct("<QQQ")
#: Offset of the counts: a multiple of the bytes that a processor stores at once.
_COUNTS_AT = 64
_EXTENT_AT = _COUNTS_AT + _COUNTS.size
_NUMBER = struct.Struct("<Q")
_SENT_AT = _EXTENT_AT + _COUNTS.size
#: The largest valid count. A file system that loses a page may leave any bytes.
_MOST = 2**63 - 1

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Extent(NamedTuple):
    """The size of a stream, as its process knew it when it began or ended a segment.

    Attributes:
        first: Number of the first record of the newest segment; 0 if there was no segment yet.
        size: The bytes of that segment at its end; 0 as long as it is open.
        stored: How many events the stream had then.
    """

    first: int = 0
    size: int = 0
    stored: int = 0


#: The extent of a stream without segments.
NO_EXTENT = Extent()


def page_path(folder: Path, stream: str) -> Path:
    """Return the path of a stream's page."""
    return folder / f"{stream}{SUFFIX}"


def page_bytes(stream: str, counts: Counts, extent: Extent = NO_EXTENT) -> bytes:
    """Return the content of a stream's page."""
    head = _HEAD.pack(MAGIC, FORMAT, PAGE_SIZE, bytes.fromhex(stream))
    head += _CRC.pack(crc32(head))
    return (head.ljust(_COUNTS_AT, b"\0") + _COUNTS.pack(*counts) + _COUNTS.pack(*extent)).ljust(PAGE_SIZE, b"\0")


class CounterPage:
    """The page of a stream that this process writes; locked for as long as it is open.

    Args:
        folder: The spool.
        stream: The stream's id.
        counts: The first counts.
        extent: The extent until now.

    Raises:
        OSError: There is no room, or the file system maps no files; nothing is left behind.
        ValueError: The file system maps no files; nothing is left behind.
    """

    def __init__(self, folder: Path, stream: str, counts: Counts, extent: Extent = NO_EXTENT) -> None:
        path = page_path(folder, stream)
        hidden = path.with_suffix(f"{SUFFIX}.new")
        hidden.unlink(missing_ok=True)  # of a call that was interrupted: the name is this stream's alone
        descriptor = os.open(hidden, _CREATE, 0o600)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # All of it is written: a store into a page for which the disk has no room would be a SIGBUS.
            data = page_bytes(stream, counts, extent)
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._map = mmap.mmap(descriptor, PAGE_SIZE)
            hidden.rename(path)
        except BaseException:
            hidden.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)  # the map holds one of its own, and with it the lock
        # A plain store of a machine word: struct.pack_into would show another process a zero in between.
        self._words = memoryview(self._map)[_COUNTS_AT : _EXTENT_AT + _COUNTS.size].cast("Q")

    def store(self, counts: Counts) -> None:
        """Store the counts so far."""
        self._store(0, counts)

    def store_extent(self, extent: Extent) -> None:
        """Store the extent; a process that is killed in between leaves one that is open, and so shows less."""
        self._words[len(Counts()) + 1] = 0
        self._store(len(Counts()), (extent.first, 0, extent.stored))
        self._store(len(Counts()) + 1, (extent.size,))

    def _store(self, index: int, values: Iterable[int]) -> None:
        for at, value in enumerate(values, start=index):
            self._words[at] = int.from_bytes(value.to_bytes(8, "little"), sys.byteorder)

    def sync(self) -> None:
        """Make the page survive the loss of power.

        Raises:
            OSError: The page cannot be written to the disk.
        """
        self._map.flush()

    def close(self) -> None:
        """Close the page; the stored counts stay."""
        self._words.release()
        self._map.close()


def read_page(path: Path) -> Counts | None:
    """Return the counts in a stream's page; None if there is no page, or it is damaged.

    Raises:
        OSError: The page cannot be read.
    """
    data = _read(path)
    if data is None:
        return None
    counts = Counts(*_COUNTS.unpack_from(data, _COUNTS_AT))
    return counts if max(counts) <= _MOST else None


def read_extent(path: Path) -> Extent | None:
    """Return the extent in a stream's page; None if there is no page, it is damaged, or its version has no extents."""
    try:
        data = _read(path)
    except OSError:
        return None
    if data is None or len(data) < _EXTENT_AT + _COUNTS.size:
        return None
    extent = Extent(*_COUNTS.unpack_from(data, _EXTENT_AT))
    return extent if extent.first and max(extent) <= _MOST else None


def note_sent(path: Path, last: int) -> None:
    """Note in the page of a stream that has ended that a server has all of it; before its last segment is deleted.

    So a later shipper knows who has deleted the segments, and notices if the server has lost what it had.

    Args:
        path: The page; nothing is noted if there is none.
        last: Number of the last record; 0 if there was none.
    """
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.pwrite(descriptor, _NUMBER.pack(last + 1), _SENT_AT)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def read_sent(path: Path) -> int | None:
    """Return the number of a stream's last record if a server has had all of it; None if that was not noted."""
    try:
        data = _read(path)
    except OSError:
        return None
    if data is None or len(data) < _SENT_AT + _NUMBER.size:
        return None
    (after,) = _NUMBER.unpack_from(data, _SENT_AT)
    return after - 1 if 0 < after <= _MOST else None


def _read(path: Path) -> bytes | None:
    """Return the bytes of a page with a valid beginning."""
    try:
        data = read_plain(path, PAGE_SIZE)
    except (FileNotFoundError, NotPlainError):
        return None
    if len(data) < _EXTENT_AT or data[: len(MAGIC)] != MAGIC:
        return None
    if crc32(data[: _HEAD.size]) != _CRC.unpack_from(data, _HEAD.size)[0]:
        return None
    return data if data[16:32].hex() == path.stem else None
