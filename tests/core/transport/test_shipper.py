"""A site's shipper and the server's intake, with a connection between them that a test can cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from fedtrack.errors import TransportError
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import BlobRef, Metric, Text, decode
from fedtrack.tracking.records import encode as encode_record
from fedtrack.tracking.writer import Writer
from fedtrack.transport.intake import Intake
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.wire import Ack, Bye, FilePart, Frames, FromSite, Hello, decode_ack, encode

RUN = "run-1"
STREAM = "ab" * 16


@dataclass
class Line:
    """Between a site and the server.

    Attributes:
        faults: What happens to the next messages: "busy", "lost" (before it arrives), "deaf" (the answer is lost).
        sent: The messages that arrived, by their kind.
    """

    intake: Intake
    site: str = "site-1"
    faults: list[str] = field(default_factory=list)
    sent: list[FromSite] = field(default_factory=list)

    def call(self, message: FromSite) -> Ack:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "busy":
            return Ack("busy", retry_after=0.01)
        if fault == "lost":
            raise TransportError("the line is cut")
        self.sent.append(message)
        answer = decode_ack.decode(self.intake.handle(self.site, encode(message)))
        if fault == "deaf":
            raise TransportError("the answer was lost")
        return answer

    def count(self, kind: type) -> int:
        return sum(isinstance(message, kind) for message in self.sent)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture
def line(journal: Journal, tmp_path: Path) -> Line:
    return Line(Intake(RUN, journal, BlobStore(tmp_path / "blobs")))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", segment_bytes=600)


def log(spool: Spool, count: int, start: int = 0) -> None:
    for step in range(start, start + count):
        spool.append(Metric(0, "loss", float(step), step))


def steps(journal: Journal, site: str = "site-1") -> list[int | None]:
    found = []
    for batch in journal.read(0):
        for _, payload in frames.split(batch.body):
            record = decode(payload)
            assert batch.site == site
            assert isinstance(record, Metric)
            found.append(record.step)
    return found


def bye(logged: int | None = None) -> Callable[[dict[str, int]], Bye]:
    return lambda final: Bye(RUN, final, logged, 0)


def test_everything_arrives_and_the_spool_is_emptied(spool: Spool, line: Line, journal: Journal) -> None:
    log(spool, 100)
    spool.close()
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    assert shipper.finish(bye(100), 5.0)
    assert steps(journal) == list(range(100))
    assert list(spool.folder.glob("*.spool")) == []
    assert line.intake.is_complete(["site-1"])
    assert line.intake.byes()["site-1"].logged == 100


@pytest.mark.parametrize("faults", [["busy"], ["lost"], ["deaf"], ["", "busy"], ["", "lost"], ["", "deaf"]])
def test_trouble_is_tried_again_without_duplicates(
    spool: Spool, line: Line, journal: Journal, faults: list[str]
) -> None:
    log(spool, 100)
    spool.close()
    line.faults = faults
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    assert shipper.finish(bye(), 5.0)
    assert steps(journal) == list(range(100))
    assert shipper.retries == 1


def test_events_cross_while_the_script_runs(spool: Spool, line: Line, journal: Journal) -> None:
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    shipper.start()
    log(spool, 10)
    deadline = time.monotonic() + 10
    while len(steps(journal)) < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert steps(journal) == list(range(10))
    log(spool, 10, start=10)
    assert shipper.finish(bye(), 5.0)
    assert steps(journal) == list(range(20))


def test_nothing_is_deleted_without_an_answer(spool: Spool, line: Line, journal: Journal) -> None:
    log(spool, 100)
    spool.close()
    before = sorted(spool.folder.glob("*.spool"))
    line.faults = [""] + ["lost"] * 10_000
    assert not SpoolShipper(spool.folder, RUN, line.call).finish(bye(), 0.3)
    assert sorted(spool.folder.glob("*.spool")) == before
    assert not line.intake.is_complete(["site-1"])
    line.faults = []
    assert SpoolShipper(spool.folder, RUN, line.call).finish(bye(), 5.0)  # a drain, later
    assert steps(journal) == list(range(100))


def test_site_goes_on_where_the_server_is(spool: Spool, line: Line, journal: Journal) -> None:
    log(spool, 50)
    SpoolShipper(spool.folder, RUN, line.call).ship(ended=False)
    line.sent.clear()
    log(spool, 10, start=50)
    SpoolShipper(spool.folder, RUN, line.call).ship(ended=False)
    assert [message.first for message in line.sent if isinstance(message, Frames)] == [51]
    assert steps(journal) == list(range(60))


def test_server_that_lost_its_journal_gets_what_is_still_there(spool: Spool, line: Line, tmp_path: Path) -> None:
    log(spool, 100)  # several segments; all but the last are deleted once shipped
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    shipper.ship(ended=False)
    fresh = Journal(tmp_path / "fresh.db")
    line.intake = Intake(RUN, fresh, BlobStore(tmp_path / "blobs"))
    log(spool, 5, start=100)
    assert shipper.finish(bye(), 5.0)
    kept = steps(fresh)
    assert kept == list(range(int(kept[0] or 0), 105))
    assert [reason for _, _, _, reason in fresh.gaps()] == [f"{kept[0]} events that the server once had"]
    fresh.close()


def test_damage_is_recorded_once_and_passed(spool: Spool, line: Line, journal: Journal) -> None:
    line.faults = ["", "", "deaf"]
    log(spool, 10)
    spool.close()
    path = next(spool.folder.glob("*.spool"))
    data = bytearray(path.read_bytes())
    data[52 + (len(data) - 52) // 2] ^= 0xFF
    path.write_bytes(data)
    assert SpoolShipper(spool.folder, RUN, line.call).finish(bye(), 5.0)
    assert len(steps(journal)) == 9
    assert len(journal.gaps()) == 1


def test_large_value_is_sent_in_pieces_once(spool: Spool, line: Line, journal: Journal) -> None:
    text = "x" * 3_000_000
    Writer(spool).record_text("log", text)
    Writer(spool).record_text("log", text)
    line.faults = ["", "deaf", "", "deaf"]
    assert SpoolShipper(spool.folder, RUN, line.call).finish(bye(), 5.0)
    payloads = [payload for batch in journal.read(0) for _, payload in frames.split(batch.body)]
    notes = [record for record in map(decode, payloads) if isinstance(record, Text)]
    assert [line.intake._blobs.read_text(note.text) for note in notes] == [text, text]
    assert line.count(FilePart) == 5  # three pieces, two of them twice


def test_refused_stream_is_kept_and_no_goodbye_said(spool: Spool, line: Line) -> None:
    log(spool, 10)
    spool.close()
    shipper = SpoolShipper(spool.folder, "another-run", line.call)
    shipper._run_id = RUN
    shipper.ship(ended=False)
    shipper._run_id = "another-run"
    log(spool, 10, start=10)
    assert not shipper.finish(lambda final: Bye("another-run", final, None, 0), 1.0)
    assert list(shipper.rejected) == [spool.stream]
    assert list(spool.folder.glob("*.spool"))


def test_another_reader_keeps_its_segments(spool: Spool, line: Line) -> None:
    log(spool, 100)
    before = len(list(spool.folder.glob("*.spool")))
    SpoolShipper(spool.folder, RUN, line.call, kept_by=lambda stream: 0).ship(ended=False)
    assert len(list(spool.folder.glob("*.spool"))) == before


def batch(first: int, last: int, **changes: object) -> Frames:
    salt = frames.salt_of(STREAM)
    records = [(seq, encode_record(Metric(0, "loss", 1.0, seq))) for seq in range(first, last + 1)]
    body = b"".join(frames.frame(seq, payload, salt) for seq, payload in records)
    message = Frames(RUN, STREAM, first - 1, 0, first, last, last - first + 1, body)
    return msgspec.structs.replace(message, **changes)


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


def test_garbage_is_refused(line: Line) -> None:
    assert decode_ack.decode(line.intake.handle("site-1", b"\x00garbage")).verdict == "rejected"


def test_file_with_another_content_is_refused(line: Line) -> None:
    assert line.call(FilePart(RUN, "0" * 64, 3, 0, b"abc")).verdict == "rejected"
    assert line.call(FilePart(RUN, "../x", 3, 0, b"abc")).verdict == "rejected"
    with pytest.raises(Exception, match="missing"):
        line.intake._blobs.read(BlobRef("0" * 64, 3))


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
