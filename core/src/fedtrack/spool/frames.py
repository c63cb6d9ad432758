"""Frames: the format of spool files and journal batches, by which intact records are distinguished from damage.

A frame is ``magic 2 | length u32 | crc32 u32 | seq u64 | payload``, little-endian, 18 bytes before the payload.
The checksum covers length, sequence number and payload, and starts from the stream's salt. So a frame of another
stream (a spool file logged as an artifact, a misplaced block) is never taken for one of this stream.
A payload has its metric's whole name: names interned per segment would save about 10 bytes each, but one damaged
definition would then lose every metric that uses it.

A segment starts with a header, of 64 bytes in format 2:
``magic 8 | version u32 | flags u32 | stream 16 | first_seq u64 | created_ns u64 | round i64 | size u32 | crc32 u32``.
Flag 1 means that the stream has earlier segments: if they are gone and their records are in no journal, records are
lost. The round is that of the first record, or -1; marks among the records show where it changes. The size counts the
whole header. Its last four bytes are its checksum, and a later version may put further fields before them.
A header of format 1 has 52 bytes: it ends after ``created_ns`` with the checksum.
The header of a later segment of a stream has 80 bytes. Before the checksum it also has the number of the first record
and the size of the segment before it, ``u64`` each. So a reader notices that this one was cut or deleted.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from fedtrack.errors import DamagedError
from fedtrack.tracking.records import FIRST_CONTROL_KIND, KINDS_WITH_BLOBS, number_of

MAGIC = b"\xf5\xd7"
#: The longest payload; larger values are kept in blobs.
MAX_PAYLOAD = 1024 * 1024
#: The highest sequence number: the journal stores them in signed 64 bits.
MAX_SEQ = 2**63 - 1

_FRAME = struct.Struct("<2sIIQ")
_LENGTH = struct.Struct("<I")
_CHECKED = struct.Struct("<IQ")
#: The beginning of both formats, and the further fields of format 2.
_HEADER = struct.Struct("<8sII16sQQ")
_HEADER_2 = struct.Struct("<qI")
_PREVIOUS = struct.Struct("<QQ")
_CRC = struct.Struct("<I")

FRAME_SIZE = _FRAME.size
#: Offset of a frame's number; the payload follows it.
_SEQ_AT = 10
HEADER_SIZE = _HEADER.size + _HEADER_2.size + _CRC.size
HEADER_SIZE_1 = _HEADER.size + _CRC.size
#: The size of a header that describes the segment before it.
LINKED_HEADER_SIZE = HEADER_SIZE + _PREVIOUS.size
#: The longest header of any later version: a reader needs no more bytes than this to see all of it.
MAX_HEADER_SIZE = 256
HEADER_MAGIC = b"fedtrack"
CONTINUES = 1
VERSION = 2

_pack_frame = _FRAME.pack
_pack_checked = _CHECKED.pack
_pack_length = _LENGTH.pack
_unpack_frame = _FRAME.unpack_from


def salt_of(stream: str) -> int:
    """Return the start value of the checksums of a stream's frames."""
    return crc32(bytes.fromhex(stream))


def frame(seq: int, payload: bytes, salt: int) -> bytes:
    """Return the frame with ``payload`` and the number ``seq``, for the stream with that salt."""
    length = len(payload)
    return _pack_frame(MAGIC, length, crc32(payload, crc32(_pack_checked(length, seq), salt)), seq) + payload


class Link(NamedTuple):
    """A segment, as the one after it describes it.

    Attributes:
        first_seq: Number of its first record.
        size: The bytes that its process wrote to it.
    """

    first_seq: int
    size: int


def header(
    stream: bytes,
    first_seq: int,
    created_ns: int,
    flags: int = 0,
    round: int | None = None,
    previous: Link | None = None,
) -> bytes:
    """Return the header of a segment whose first frame will have the number ``first_seq``."""
    size = HEADER_SIZE if previous is None else LINKED_HEADER_SIZE
    head = _HEADER.pack(HEADER_MAGIC, VERSION, flags, stream, first_seq, created_ns)
    head += _HEADER_2.pack(-1 if round is None else round, size)
    if previous is not None:
        head += _PREVIOUS.pack(*previous)
    return head + _CRC.pack(crc32(head))


class Header(NamedTuple):
    """The header of a segment."""

    stream: str
    first_seq: int
    created_ns: int
    continues: bool = False
    round: int | None = None
    previous: Link | None = None


def read_header(data: bytes) -> Header | None:
    """Return the header at the start of ``data``; None if it is damaged or incomplete.

    Raises:
        DamagedError: The header is intact, but its format is too new for this version.
    """
    size = _header_size(data)
    if size is None:
        return None
    _, version, flags, stream, first_seq, created_ns = _HEADER.unpack_from(data)
    if version > VERSION:
        raise DamagedError(
            f"The spool segment has format {version}, this version of fedtrack reads up to {VERSION}; upgrade it."
        )
    round_ = -1 if version == 1 else _HEADER_2.unpack_from(data, _HEADER.size)[0]
    previous = None
    if flags & CONTINUES and version > 1 and size >= LINKED_HEADER_SIZE:
        previous = Link(*_PREVIOUS.unpack_from(data, _HEADER.size + _HEADER_2.size))
    round_or_none = None if round_ < 0 else round_
    return Header(stream.hex(), first_seq, created_ns, bool(flags & CONTINUES), round_or_none, previous)


def frames_start(data: bytes) -> int:
    """Return the offset of a segment's first frame, also if its header is damaged.

    A damaged header loses no record: frames are found by their own magic and checksum.
    """
    size = _header_size(data)
    if size is None:
        sizes = (HEADER_SIZE_1, HEADER_SIZE, LINKED_HEADER_SIZE)
        size = next((one for one in sizes if data[one : one + len(MAGIC)] == MAGIC), HEADER_SIZE)
    return min(len(data), size)


def _header_size(data: bytes) -> int | None:
    """Return the size of the header at the start of ``data``; None if it is damaged or incomplete."""
    if len(data) < HEADER_SIZE_1 or data[: len(HEADER_MAGIC)] != HEADER_MAGIC:
        return None
    size = HEADER_SIZE_1
    if _LENGTH.unpack_from(data, len(HEADER_MAGIC))[0] != 1:
        if len(data) < HEADER_SIZE:
            return None
        size = _HEADER_2.unpack_from(data, _HEADER.size)[1]
    if not HEADER_SIZE_1 <= size <= min(len(data), MAX_HEADER_SIZE):
        return None
    checked = size - _CRC.size
    return size if crc32(data[:checked]) == _CRC.unpack_from(data, checked)[0] else None


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Consecutive valid frames of one round.

    Attributes:
        first: Sequence number of the first frame.
        last: Sequence number of the last frame; numbers ascend, holes are legal.
        count: The number of frames.
        body: The bytes of the frames, as in the file.
        round: The round in which they were logged, counted from 0; None if it is unknown.
        plain: Whether every frame is known to be an event without a blob. False means that nobody has looked.
    """

    first: int
    last: int
    count: int
    body: bytes
    round: int | None = None
    plain: bool = False

    @property
    def events(self) -> int:
        """The number of frames that are events: neither a gap nor a control record."""
        return self.count if self.plain else events_in(self.body, self.count)

    def without(self, numbers: Container[int]) -> FrameRange | None:
        """Return the range without the frames of these numbers; None if no frame is left."""
        kept: list[int] = []
        body, position = bytearray(), 0
        for seq, payload in split(self.body):
            end = position + FRAME_SIZE + len(payload)
            if seq not in numbers:
                kept.append(seq)
                body += self.body[position:end]
            position = end
        return FrameRange(kept[0], kept[-1], len(kept), bytes(body), self.round) if kept else None


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not a frame, from ``start`` to ``end`` of the scanned data."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """The content of a piece of a segment.

    Attributes:
        parts: Ranges of frames and damage, in file order.
        consumed: How many bytes the parts cover; an incomplete or invalid suffix follows.
        last: Number of the last valid frame, known or new; ``previous`` if there is no valid frame.
    """

    parts: list[FrameRange | Damage]
    consumed: int
    last: int


def scan(data: bytes, salt: int, *, previous: int, after_seq: int, final: bool) -> Scan:
    """Find the frames in ``data`` whose numbers are greater than ``after_seq``.

    Args:
        data: A piece of a segment that starts at a frame boundary.
        salt: The stream's salt; see ``salt_of``.
        previous: Number of the frame before ``data``. Numbers ascend in a file. A valid frame whose number does not
            exceed the previous one is a block that the file system put in the wrong place: damage.
        after_seq: Frames up to this number are known already, and are skipped.
        final: Whether nothing can be appended any more. Otherwise an invalid suffix may be a frame that is still
            being written. It is then left unconsumed and not reported as damage.
    """
    parts: list[FrameRange | Damage] = []
    position, size = 0, len(data)
    starts: dict[int, int] = {}
    while position < size:
        run, end, previous = _valid_run(data, position, salt, previous, after_seq, starts)
        if run is not None:
            parts.append(run)
        if end == position:
            following = _next_frame(data, position + 1, salt, previous, starts)
            if following is None:
                if not final:
                    break
                following = size
            parts.append(Damage(position, following))
            end = following
        position = end
    return Scan(parts, position, previous)


def _valid_run(
    data: bytes, position: int, salt: int, previous: int, after_seq: int, starts: dict[int, int], most: int = -1
) -> tuple[FrameRange | None, int, int]:
    """Return the new frames that follow each other from ``position`` on, the end of the last one, and its number.

    Args:
        data: A piece of a segment.
        position: The offset at which a frame may start.
        salt: The stream's salt.
        previous: Number of the previous frame.
        after_seq: Frames up to this number are skipped.
        starts: The checksums of the lengths seen so far. With them, one call checks the rest of a frame.
        most: The most frames to look at; a negative number means all.
    """
    # One loop without calls of our own functions: every event of a run passes through it once, and it takes half of
    # the server's time for an event.
    first = count = 0
    start, size, unpack = position, len(data), _unpack_frame
    last_start = size - FRAME_SIZE
    while position <= last_start and most:
        magic, length, crc, seq = unpack(data, position)
        end = position + FRAME_SIZE + length
        if magic != MAGIC or length > MAX_PAYLOAD or end > size or seq > MAX_SEQ:
            break
        if length not in starts:
            starts[length] = crc32(_pack_length(length), salt)
        if crc32(data[position + _SEQ_AT : end], starts[length]) != crc:
            break
        if seq <= previous:
            break
        if seq <= after_seq:
            start = end
        else:
            first = first or seq
            count += 1
        previous, position = seq, end
        most -= 1
    if not count:
        return None, position, previous
    body = data[start:position]
    return FrameRange(first, previous, count, body, plain=not _MAY_BE_SPECIAL.search(body)), position, previous


def _next_frame(data: bytes, position: int, salt: int, previous: int, starts: dict[int, int]) -> int | None:
    """Return the start of the next valid frame from ``position`` on whose number is greater than ``previous``."""
    while (position := data.find(MAGIC, position)) >= 0:
        _, end, _ = _valid_run(data, position, salt, previous, 0, starts, most=1)
        if end > position:
            return position
        position += 1
    return None


def is_cut_short(data: bytes) -> bool:
    """Return whether ``data`` is the beginning of a frame, as the last write of a killed process leaves it."""
    if len(data) < FRAME_SIZE:
        return data[:2] == MAGIC[: len(data)]
    magic, length, _, _ = _unpack_frame(data)
    return bool(magic == MAGIC and length <= MAX_PAYLOAD and FRAME_SIZE + length > len(data))


def kinds_pattern(kinds: Iterable[int]) -> re.Pattern[bytes]:
    """Return a pattern that shows, without a look at each frame, that a body has no record of these kinds.

    The pattern never misses such a record, but it may match inside another payload. It contains more than the magic,
    because a MiB contains some magics by chance, and each match costs a look at all frames.
    """
    length, checksum_and_number = b"..[\0-\x10]\0", b".{11}[\0-\x7f]"
    kind = b"[\x91-\x9f][%s]" % re.escape(bytes(kinds))  # as records.number_of
    return re.compile(re.escape(MAGIC) + length + checksum_and_number + kind, re.DOTALL)


_GAP_KIND = 9
#: Second bytes of payloads that are not events; cc to cf precede a kind of 128 or more.
_NO_EVENTS = (_GAP_KIND, *range(FIRST_CONTROL_KIND, 128), *range(0xCC, 0xD0))
_MAY_HOLD_NO_EVENT = kinds_pattern(_NO_EVENTS)
#: One search tells of most ranges that they need no other one.
_MAY_BE_SPECIAL = kinds_pattern((*_NO_EVENTS, *KINDS_WITH_BLOBS))


def events_in(body: bytes, count: int) -> int:
    """Return how many of a run's ``count`` frames are events: neither a gap nor a control record."""
    if not _MAY_HOLD_NO_EVENT.search(body):
        return count
    return sum(is_event(payload) for _, payload in split(body))


def is_event(payload: bytes | memoryview) -> bool:
    """Return whether a payload was logged by a script; other payloads describe the stream itself."""
    number = number_of(payload)
    return number != _GAP_KIND and number < FIRST_CONTROL_KIND


def split(body: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield (seq, payload) of a body whose frames have been checked before."""
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
