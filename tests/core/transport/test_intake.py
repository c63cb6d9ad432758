"""Intake: what a server takes from a site, what it refuses, and what it says of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import BlobRef, Metric
from fedtrack.tracking.records import encode as encode_record
from fedtrack.transport.intake import Intake
from fedtrack.transport.wire import Ack, Bye, Damage, FilePart, Hello, decode_ack
from support.forwarding import raiser
from support.shipping import RUN, STREAM, Line, batch, frames_of, steps


@pytest.fixture
def line(journal: Journal, tmp_path: Path) -> Line:
    return Line(Intake(RUN, journal, BlobStore(tmp_path / "blobs")))


def test_second_delivery_is_a_duplicate(line: Line, journal: Journal) -> None:
    assert line.call(batch(1, 5)) == Ack("stored", 5)
    assert line.call(batch(1, 5)) == Ack("duplicate", 5)
    assert line.call(batch(3, 8, after=2)) == Ack("stored", 8)
    assert steps(journal) == list(range(1, 9))


def test_gap_is_asked_for(line: Line) -> None:
    line.call(batch(1, 5))
    answer = line.call(batch(9, 9))
    assert (answer.verdict, answer.stored_upto) == ("gap", 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "another"},
        {"stream": "../../etc"},
        {"first": 2},
        {"last": 9},
        {"count": 4},
        {"body": b"no frames"},
        {"body": frames.frame(1, b"\xc1", frames.salt_of(STREAM))},
        {"body": b""},
    ],
)
def test_what_is_not_right_is_refused(line: Line, journal: Journal, changes: dict[str, object]) -> None:
    assert line.call(msgspec.structs.replace(batch(1, 5), **changes)).verdict == "rejected"
    assert journal.counts() == {}


@pytest.mark.threat("T2", "T4")
def test_garbage_is_refused(line: Line) -> None:
    assert decode_ack.decode(line.intake.handle("site-1", b"\x00garbage")).verdict == "rejected"


def test_file_with_another_content_is_refused(line: Line) -> None:
    assert line.call(FilePart(RUN, "0" * 64, 3, 0, b"abc")).verdict == "rejected"
    assert line.call(FilePart(RUN, "../x", 3, 0, b"abc")).verdict == "rejected"
    with pytest.raises(Exception, match="missing"):
        line.intake._blobs.read(BlobRef("0" * 64, 3))


def test_a_file_whose_last_piece_came_before_a_kill_is_taken_when_it_is_sent_again(line: Line) -> None:
    data = b"abcdef"
    ref = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
    blobs = line.intake._blobs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Intake, "_adopt", raiser(OSError("killed")))
        line.call(FilePart(RUN, ref.sha256, ref.size, 0, data))
    assert not (blobs.folder / ref.sha256).exists()
    assert line.call(FilePart(RUN, ref.sha256, ref.size, 0, data)) == Ack("stored", ref.size)
    assert blobs.read(ref) == data


def test_no_answer_says_what_another_site_has_sent(line: Line) -> None:
    data = b"abcdef"
    known, unknown = hashlib.sha256(data).hexdigest(), hashlib.sha256(b"ghijkl").hexdigest()
    assert line.call(FilePart(RUN, known, 6, 0, data)) == Ack("stored", 6)
    assert line.call(FilePart(RUN, known, 6, 0, data)) == Ack("duplicate", 6)

    def asked(message: FilePart) -> Ack:
        return decode_ack.decode(line.intake.handle("site-9", msgspec.msgpack.encode(message)))

    for probe in ((6, 0, b""), (6, 0, b"ab"), (6, 2, b"cd"), (6, 5, b"f")):
        assert asked(FilePart(RUN, known, *probe)) == asked(FilePart(RUN, unknown, *probe))
    assert asked(FilePart(RUN, known, 6, 4, b"XX")).verdict == "rejected"
    assert line.intake._blobs.read(BlobRef(known, 6)) == data


def test_sites_do_not_share_streams(line: Line, journal: Journal) -> None:
    line.call(batch(1, 5))
    line.site = "site-2"
    assert line.call(Hello(RUN)).marks == {}
    assert line.call(batch(1, 2)).stored_upto == 2
    assert journal.counts() == {"site-1": 5, "site-2": 2}


def test_goodbye_counts_only_when_everything_is_there(line: Line) -> None:
    line.call(batch(1, 5))
    assert line.call(Bye(RUN, {STREAM: 6}, None, 0)).verdict == "gap"
    assert not line.intake.is_complete(["site-1"])
    line.call(batch(6, 6))
    assert line.intake.is_complete(["site-1"])
    assert not line.intake.is_complete(["site-1", "site-2"])


def test_closed_intake_keeps_events_at_the_site(line: Line, journal: Journal) -> None:
    line.intake.close()
    assert line.call(batch(1, 5)).verdict == "busy"
    assert journal.counts() == {}


MARK, LATER_MARK, UNKNOWN = b"\x93\x20\x01\x02", b"\x94\xcc\xc8\x01\x02\xc0", b"\x93\x1f\x01\x02"


def test_records_that_only_a_newer_site_knows_are_taken_as_they_are(line: Line, journal: Journal) -> None:
    later_metric = msgspec.msgpack.encode([1, 0, "loss", 0.5, 3, 128, "nats"])
    payloads = {1: MARK, 2: UNKNOWN, 3: later_metric, 4: LATER_MARK}
    assert line.call(frames_of(payloads, round=4)) == Ack("stored", 4)
    (stored,) = journal.read(0)
    assert [bytes(payload) for _, payload in frames.split(stored.body)] == [*payloads.values()]
    assert (stored.round, stored.count) == (4, 2)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        b"",
        b"\x93",
        b"\x05",
        b"\x90",
        b"\x91\xa1a",
        b"\x93\x01\x02\x03",
        b"\x93\x1f\x01\xa1\xff",
        b"\x91" * 2000,
    ],
)
def test_what_is_no_record_of_any_version_is_refused(line: Line, journal: Journal, payload: bytes) -> None:
    good = encode_record(Metric(0, "loss", 1.0))
    assert line.call(frames_of({1: good, 2: payload})).verdict == "rejected"
    assert journal.counts() == {}


def test_damage_is_kept_with_its_kind_and_range_and_once(line: Line, journal: Journal) -> None:
    for _ in range(2):
        assert line.call(Damage(RUN, STREAM, 40, "40 damaged bytes")).verdict == "stored"
        assert line.call(Damage(RUN, STREAM, 0, "gone", "missing", 3, 5, 7)).verdict == "stored"
        assert line.call(Damage(RUN, STREAM, 1, "odd", "of a later version")).verdict == "stored"
    assert [(gap.kind, gap.count, gap.first, gap.last, gap.size) for gap in journal.gaps()] == [
        ("damaged", None, None, None, 40),
        ("missing", 3, 5, 7, 0),
        ("damaged", None, None, None, 1),
    ]


def test_goodbye_says_everything_that_is_no_event(line: Line, journal: Journal) -> None:
    line.call(batch(1, 5))
    counts = {STREAM: Counts(3, 2, 1), "cd" * 16: None}
    said = Bye(RUN, {STREAM: 5}, 5, 3, "why", withheld=2, rejected=1, counts=counts, chain=b"head")
    assert line.call(said).verdict == "stored"
    found = line.intake.byes()["site-1"]
    assert (found.final, found.logged, found.dropped, found.withheld, found.rejected) == ({STREAM: 5}, 5, 3, 2, 1)
    assert (found.error, found.chain) == ("why", b"head")
    assert [(stream.counts, stream.counted) for stream in journal.streams()] == [
        (Counts(3, 2, 1), True),
        (Counts(), False),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"final": {STREAM: 2**63}},
        {"final": {"x": 1}},
        {"dropped": -1},
        {"logged": 2**64 - 1},
        {"counts": {STREAM: Counts(0, -1, 0)}},
        {"counts": {"../x": None}},
        {"chain": b"x" * 65},
    ],
)
def test_goodbye_with_impossible_numbers_is_refused(line: Line, changes: dict[str, object]) -> None:
    said = msgspec.structs.replace(Bye(RUN, {}, None, 0), **changes)
    assert line.call(said).verdict == "rejected"
    assert line.intake.byes() == {}


def test_message_of_a_later_kind_is_answered_so_that_its_sender_understands(line: Line) -> None:
    later = msgspec.msgpack.encode({"type": "seal", "run_id": RUN, "level": 3})
    answer = decode_ack.decode(line.intake.handle("site-1", later))
    assert (answer.verdict, answer.version) == ("unknown", 2)
    assert answer.reason == "version 2 of the wire has no message 'seal'; upgrade the server"


def test_fields_of_a_later_version_are_passed_over(line: Line) -> None:
    hello = msgspec.msgpack.encode({"type": "hello", "run_id": RUN, "version": 3, "sealed": [{"deep": 1}]})
    assert decode_ack.decode(line.intake.handle("site-1", hello)) == Ack("stored", version=2)
    assert line.call(Hello(RUN)) == Ack("stored")  # one of version 1 is told of none
