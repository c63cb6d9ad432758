"""The framing of spool files and journal batches: how a record's bytes are told from damage.

A frame is ``magic 2 | length u32 | crc32 u32 | seq u64 | payload``, little-endian, 18 bytes before the payload.
The checksum covers length, sequence number and payload, and starts from the stream's salt, so that a frame of
another stream (a spool file logged as an artifact, a misplaced block) is never taken for one of this stream.
A payload carries its metric's whole name: names interned per segment would save about 10 bytes each, but one
damaged definition would then lose every metric that uses it.

A segment starts with a header of 52 bytes:
``magic 8 | version u32 | flags u32 | stream 16 | first_seq u64 | created_ns u64 | crc32 u32``.
Flag 1 says that the stream has earlier segments: if they are gone and their records in no journal, that is a loss.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from fedtrack.errors import DamagedError

MAGIC = b"\xf5\xd7"
#: A longer payload is no frame of ours: larger values are kept in blobs.
MAX_PAYLOAD = 1024 * 1024
#: The journal keeps sequence numbers in signed 64 bits.
MAX_SEQ = 2**63 - 1

_FRAME = struct.Struct("<2sIIQ")
_CHECKED = struct.Struct("<IQ")
_HEADER = struct.Struct("<8sII16sQQ")
_CRC = struct.Struct("<I")

FRAME_SIZE = _FRAME.size
HEADER_SIZE = _HEADER.size + _CRC.size
HEADER_MAGIC = b"fedtrack"
CONTINUES = 1
VERSION = 1

_pack_frame = _FRAME.pack
_pack_checked = _CHECKED.pack
_unpack_frame = _FRAME.unpack_from


def salt_of(stream: str) -> int:
    """Return what the checksums of a stream's frames start from."""
    return crc32(bytes.fromhex(stream))


def frame(seq: int, payload: bytes, salt: int) -> bytes:
    """Return the frame that carries ``payload`` as number ``seq`` of the stream with that salt."""
    length = len(payload)
    return _pack_frame(MAGIC, length, crc32(payload, crc32(_pack_checked(length, seq), salt)), seq) + payload


def header(stream: bytes, first_seq: int, created_ns: int, flags: int = 0) -> bytes:
    """Return the header of a segment whose first frame will have the number ``first_seq``."""
    head = _HEADER.pack(HEADER_MAGIC, VERSION, flags, stream, first_seq, created_ns)
    return head + _CRC.pack(crc32(head))


class Header(NamedTuple):
    """What a segment says of itself."""

    stream: str
    first_seq: int
    created_ns: int
    continues: bool = False


def read_header(data: bytes) -> Header | None:
    """Return the header at the start of ``data``; None if it is damaged or incomplete.

    Raises:
        DamagedError: The header is intact but its format is newer than this version reads.
    """
    if len(data) < HEADER_SIZE:
        return None
    magic, version, flags, stream, first_seq, created_ns = _HEADER.unpack_from(data)
    if magic != HEADER_MAGIC or crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
        return None
    if version > VERSION:
        raise DamagedError(
            f"The spool segment has format {version}, this version of fedtrack reads up to {VERSION}; upgrade it."
        )
    return Header(stream.hex(), first_seq, created_ns, bool(flags & CONTINUES))


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive valid frames.

    Attributes:
        first: Sequence number of the first frame.
        last: Sequence number of the last one; numbers ascend, holes are legal.
        count: How many frames.
        body: Their bytes, as they lie in the file.
    """

    first: int
    last: int
    count: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no frame, at ``start`` up to ``end`` of the scanned data."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a piece of a segment.

    Attributes:
        parts: Runs and damage, in file order.
        consumed: How many bytes the parts cover; what follows is an incomplete or invalid suffix.
        last: Number of the last valid frame, known or new; ``previous`` if there is none.
    """

    parts: list[Run | Damage]
    consumed: int
    last: int


def scan(data: bytes, salt: int, *, previous: int, after_seq: int, final: bool) -> Scan:
    """Find the frames in ``data`` whose numbers are greater than ``after_seq``.

    Args:
        data: A piece of a segment that starts at a frame boundary.
        salt: The stream's; see ``salt_of``.
        previous: Number of the frame before ``data``. Numbers ascend in a file, so a valid frame that does not
            exceed the one before it is a block that the file system put in the wrong place: damage.
        after_seq: Frames up to this number are already known, and are passed over.
        final: Whether nothing will ever be appended. Otherwise an invalid suffix may be a frame that is still
            being written, and is left unconsumed instead of being reported as damage.
    """
    parts: list[Run | Damage] = []
    position, size = 0, len(data)
    while position < size:
        run, end, previous = _valid_run(data, position, salt, previous, after_seq)
        if run is not None:
            parts.append(run)
        if end == position:
            following = _next_frame(data, position + 1, salt, previous)
            if following is None:
                if not final:
                    break
                following = size
            parts.append(Damage(position, following))
            end = following
        position = end
    return Scan(parts, position, previous)


def _valid_run(data: bytes, position: int, salt: int, previous: int, after_seq: int) -> tuple[Run | None, int, int]:
    """Return the new frames that follow each other from ``position`` on, where they end, and the last number."""
    first = count = 0
    start = position
    while (found := _frame_at(data, position, salt)) is not None:
        seq, end = found
        if seq <= previous:
            break
        if seq <= after_seq:
            start = end
        else:
            first = first or seq
            count += 1
        previous, position = seq, end
    return (Run(first, previous, count, data[start:position]) if count else None), position, previous


def _frame_at(data: bytes, position: int, salt: int) -> tuple[int, int] | None:
    """Return the number and the end of the valid frame that starts at ``position``; None if there is none."""
    start = position + FRAME_SIZE
    if start > len(data):
        return None
    magic, length, crc, seq = _unpack_frame(data, position)
    end = start + length
    if magic != MAGIC or length > MAX_PAYLOAD or end > len(data) or seq > MAX_SEQ:
        return None
    if crc32(data[start:end], crc32(_pack_checked(length, seq), salt)) != crc:
        return None
    return seq, end


def _next_frame(data: bytes, position: int, salt: int, previous: int) -> int | None:
    """Return where the next valid frame with a number greater than ``previous`` starts, from ``position`` on."""
    while (position := data.find(MAGIC, position)) >= 0:
        found = _frame_at(data, position, salt)
        if found is not None and found[0] > previous:
            return position
        position += 1
    return None


def is_cut_short(data: bytes) -> bool:
    """Return whether ``data`` is the beginning of a frame: what a killed process leaves of its last write."""
    if len(data) < FRAME_SIZE:
        return data[:2] == MAGIC[: len(data)]
    magic, length, _, _ = _unpack_frame(data)
    return bool(magic == MAGIC and length <= MAX_PAYLOAD and FRAME_SIZE + length > len(data))


def split(body: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield (seq, payload) of a run's body, which has been checked before."""
    view = memoryview(body)
    position, size = 0, len(body)
    while position < size:
        _, length, _, seq = _unpack_frame(body, position)
        start = position + FRAME_SIZE
        position = start + length
        yield seq, view[start:position]


def tail(body: bytes, after_seq: int) -> tuple[int, int, bytes]:
    """Return (first seq, count, bytes) of a run's frames whose numbers are greater than ``after_seq``."""
    position, size, kept_from, first, count = 0, len(body), len(body), 0, 0
    while position < size:
        _, length, _, seq = _unpack_frame(body, position)
        if seq > after_seq:
            if not count:
                kept_from, first = position, seq
            count += 1
        position += FRAME_SIZE + length
    return first, count, body[kept_from:]
