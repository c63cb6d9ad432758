"""Frames: torn at every offset, flipped at every bit, blocks zeroed, duplicated, deleted and replaced by garbage."""

import random
import struct
from dataclasses import dataclass
from zlib import crc32

import pytest

from fedtrack.errors import DamagedError
from fedtrack.spool import frames
from fedtrack.spool.frames import Damage, FrameRange
from fedtrack.tracking.records import Gap, Metric, RoundMark, Text, encode

STREAM = bytes(range(16)).hex()
SALT = frames.salt_of(STREAM)


@dataclass(frozen=True)
class Image:
    """The frames of a segment, and where each one lies."""

    data: bytes
    payloads: dict[int, bytes]
    starts: list[int]


@pytest.fixture(scope="module")
def image() -> Image:
    source = random.Random(7)
    data, payloads, starts = b"", {}, []
    for seq in range(3, 63):
        payloads[seq] = source.randbytes(source.choice((0, 1, 20, 40)))
        starts.append(len(data))
        data += frames.frame(seq, payloads[seq], SALT)
    return Image(data, payloads, [*starts, len(data)])


def scan(data: bytes, *, final: bool = True, after_seq: int = 0, salt: int = SALT) -> frames.Scan:
    return frames.scan(data, salt, previous=2, after_seq=after_seq, final=final)


def found(result: frames.Scan) -> dict[int, bytes]:
    runs = [part for part in result.parts if isinstance(part, FrameRange)]
    records = [(seq, bytes(payload)) for run in runs for seq, payload in frames.split(run.body)]
    assert [seq for seq, _ in records] == sorted({seq for seq, _ in records})
    assert sum(run.count for run in runs) == len(records)
    assert all(run.first <= run.last for run in runs)
    return dict(records)


def damages(result: frames.Scan) -> list[Damage]:
    return [part for part in result.parts if isinstance(part, Damage)]


def test_everything_is_found_in_one_run(image: Image) -> None:
    result = scan(image.data)
    assert found(result) == image.payloads
    assert (len(result.parts), result.consumed, result.last) == (1, len(image.data), 62)


@pytest.mark.parametrize("final", [True, False])
def test_a_torn_tail_costs_nothing_but_itself_at_every_offset(image: Image, final: bool) -> None:
    for end in range(len(image.data)):
        whole = sum(start <= end for start in image.starts[1:])
        result = scan(image.data[:end], final=final)
        assert list(found(result)) == list(range(3, 3 + whole))
        torn = end > image.starts[whole]
        assert result.consumed == (end if final else image.starts[whole])
        assert damages(result) == ([Damage(image.starts[whole], end)] if torn and final else [])
        assert frames.is_cut_short(image.data[image.starts[whole] : end])


def test_a_flipped_bit_costs_one_record_alters_none_and_is_reported(image: Image) -> None:
    data = bytearray(image.data)
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        result = scan(bytes(data))
        data[bit // 8] ^= 1 << bit % 8
        records = found(result)
        assert records.items() <= image.payloads.items()
        assert len(records) == len(image.payloads) - 1
        (damage,) = damages(result)
        assert damage.start <= bit // 8 < damage.end


@pytest.mark.parametrize("kind", ["zeros", "garbage", "duplicate", "delete", "misplaced"])
def test_a_damaged_block_never_alters_or_invents_a_record(image: Image, kind: str) -> None:
    source = random.Random(kind)
    size = len(image.data)
    for _ in range(600):
        start = source.randrange(size)
        end = min(size, start + source.randrange(1, 400))
        block = image.data[start:end]
        where = source.randrange(size)
        data = {
            "zeros": image.data[:start] + bytes(end - start) + image.data[end:],
            "garbage": image.data[:start] + source.randbytes(end - start) + image.data[end:],
            "duplicate": image.data[:where] + block + image.data[where:],
            "delete": image.data[:start] + image.data[end:],
            "misplaced": (image.data[:where] + block + image.data[where + len(block) :])[:size],
        }[kind]
        result = scan(data)
        records = found(result)
        assert records.items() <= image.payloads.items()
        if len(records) < len(image.payloads):
            # Frames that vanished without a trace cannot be told from numbers that were never used.
            without_a_trace = b"".join(frames.frame(seq, payload, SALT) for seq, payload in records.items())
            assert damages(result) or (kind in ("delete", "misplaced") and data == without_a_trace)


def test_whole_frames_in_the_wrong_place_are_damage_and_not_known_records(image: Image) -> None:
    same_size = [frames.frame(seq, b"0123456789", SALT) for seq in range(3, 13)]
    same_size[6] = same_size[2]
    result = scan(b"".join(same_size))
    assert list(found(result)) == [3, 4, 5, 6, 7, 8, 10, 11, 12]
    assert damages(result) == [Damage(6 * 28, 7 * 28)]


def test_known_frames_are_passed_over_and_damage_among_them_is_reported_alone(image: Image) -> None:
    data = bytearray(image.data)
    data[image.starts[10]] ^= 1
    result = scan(bytes(data), after_seq=50)
    assert list(found(result)) == list(range(51, 63))
    assert damages(result) == [Damage(image.starts[10], image.starts[11])]


def test_a_frame_of_another_stream_inside_a_torn_one_is_not_invented(image: Image) -> None:
    for salt, phantoms in ((frames.salt_of("ff" * 16), 0), (SALT, 1)):
        artifact = frames.frame(200, b"a spool file that was logged as an artifact", salt)
        half_written = frames.frame(63, artifact + bytes(100), SALT)[:-50]
        result = scan(image.data + half_written, final=False)
        assert len(found(result)) == len(image.payloads) + phantoms


@pytest.mark.parametrize("seq", [2**63, 2**64 - 1])
def test_a_number_that_the_journal_cannot_hold_is_damage(seq: int) -> None:
    result = scan(frames.frame(seq, b"x", SALT))
    assert not found(result)
    assert damages(result)


def test_a_longer_payload_than_allowed_is_no_frame() -> None:
    assert found(scan(frames.frame(3, bytes(frames.MAX_PAYLOAD), SALT)))
    assert not found(scan(frames.frame(3, bytes(frames.MAX_PAYLOAD + 1), SALT)))


def test_only_the_beginning_of_a_frame_is_cut_short() -> None:
    whole = frames.frame(3, b"payload", SALT)
    assert not frames.is_cut_short(whole)
    assert not frames.is_cut_short(b"\0" + whole[1:-1])
    assert not frames.is_cut_short(whole + b"x")


def test_tail_keeps_what_is_newer(image: Image) -> None:
    (run,) = scan(image.data).parts
    assert isinstance(run, FrameRange)
    first, count, body = frames.tail(run.body, 60)
    assert (first, count) == (61, 2)
    assert found(scan(body)) == {seq: image.payloads[seq] for seq in (61, 62)}
    assert frames.tail(run.body, 62) == (0, 0, b"")


def test_header_round_trips_and_a_damaged_one_is_none() -> None:
    head = frames.header(bytes.fromhex(STREAM), 7, 123)
    assert len(head) == frames.HEADER_SIZE == 64
    assert frames.read_header(head + b"more") == frames.Header(STREAM, 7, 123)
    for bit in range(64 * 8):
        flipped = bytearray(head)
        flipped[bit // 8] ^= 1 << bit % 8
        assert frames.read_header(bytes(flipped)) is None
    assert frames.read_header(head[:-1]) is None


def test_a_longer_header_and_unknown_flags_are_read() -> None:
    """As a later version may write them without a new format."""
    head = bytearray(frames.header(bytes.fromhex(STREAM), 7, 123, flags=0xFFFF_FFFE, round=5)[:-4])
    head += b"something that was added"
    head[56:60] = (len(head) + 4).to_bytes(4, "little")
    data = bytes(head) + crc32(head).to_bytes(4, "little")
    assert frames.read_header(data + b"more") == frames.Header(STREAM, 7, 123, continues=False, round=5)
    assert frames.frames_start(data + b"more") == len(data) == 88


@pytest.mark.parametrize("round_", [None, 0, 1, 2**63 - 1])
def test_the_header_says_the_round(round_: int | None) -> None:
    head = frames.read_header(frames.header(bytes.fromhex(STREAM), 7, 123, round=round_))
    assert head is not None
    assert head.round == round_


def test_a_damaged_header_of_either_format_costs_no_record(image: Image) -> None:
    old = struct.pack("<8sII16sQQ", b"fedtrack", 1, 0, bytes.fromhex(STREAM), 3, 123)
    for head in (old + crc32(old).to_bytes(4, "little"), frames.header(bytes.fromhex(STREAM), 3, 123)):
        assert frames.frames_start(head + image.data) == len(head)
        for bit in range(len(head) * 8):
            data = bytearray(head + image.data)
            data[bit // 8] ^= 1 << bit % 8
            assert frames.read_header(bytes(data[:256])) is None
            start = frames.frames_start(bytes(data[:256]))
            assert found(scan(bytes(data[start:]))) == image.payloads, bit


def test_events_are_counted_without_gaps_and_control_records() -> None:
    payloads = [
        encode(Metric(1, "k", 1.0)),
        encode(Gap(1, 2, "full")),
        encode(RoundMark(1, 2)),
        b"\x91\x7f",
        b"\x04",
        b"",
    ]
    tricky = encode(Text(1, "k", (frames.MAGIC + bytes(17) + b"\x09").decode("latin-1")))
    for chosen in (payloads, payloads[:1] * 3, [tricky, payloads[0]], [b"\x00\x09", b"\x93\x0a\xa1a"]):
        body = b"".join(frames.frame(seq, payload, SALT) for seq, payload in enumerate(chosen, start=1))
        expected = sum(payload not in payloads[1:4] for payload in chosen)
        assert frames.events_in(body, len(chosen)) == expected
        (run,) = frames.scan(body, SALT, previous=0, after_seq=0, final=True).parts
        assert isinstance(run, FrameRange)
        assert run.events == expected


def test_a_range_with_a_blob_a_gap_or_a_mark_is_not_plain() -> None:
    plain = encode(Metric(1, "k", 1.0))
    for payload in (encode(Text(1, "k", "t")), encode(Gap(1, 2, "full")), encode(RoundMark(1, 2)), b"\x92\xcc\x80"):
        for chosen in ([plain, payload], [payload, plain], [plain] * 3):
            body = b"".join(frames.frame(seq, each, SALT) for seq, each in enumerate(chosen, start=1))
            (run,) = frames.scan(body, SALT, previous=0, after_seq=0, final=True).parts
            assert isinstance(run, FrameRange)
            assert run.plain is (payload not in chosen)


def test_a_newer_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "VERSION", 3)
    head = frames.header(bytes.fromhex(STREAM), 7, 123)
    monkeypatch.undo()
    with pytest.raises(DamagedError, match="format 3"):
        frames.read_header(head)
