"""SpoolShipper: the messages of a site, the records that it keeps, and how it continues after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Text, decode
from fedtrack.tracking.writer import Writer
from fedtrack.transport.intake import Intake
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.wire import Bye, FilePart, Frames
from support.shipping import RUN, Line, log, steps


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
    assert next(message.first for message in line.sent if isinstance(message, Frames)) == 51
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
    (gap,) = fresh.gaps()
    assert gap.reason == f"{kept[0]} events that the server once had"
    assert (gap.kind, gap.count, gap.first, gap.last) == ("missing", kept[0], 1, kept[0])
    fresh.close()


@pytest.mark.parametrize("restarted", [False, True], ids=["the same shipper", "a shipper that was restarted"])
@pytest.mark.parametrize("left", [0, 3], ids=["nothing left", "another stream left"])
def test_a_server_that_lost_what_was_sent_in_full_is_told(
    spool: Spool, line: Line, tmp_path: Path, restarted: bool, left: int
) -> None:
    log(spool, 40)
    spool.close()
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    assert shipper.ship(ended=True)
    while shipper.ship(ended=True):
        pass
    assert list(spool.folder.glob("*.spool")) == []
    fresh = Journal(tmp_path / "fresh.db")
    line.intake = Intake(RUN, fresh, BlobStore(tmp_path / "blobs"))
    other = Spool(spool.folder)
    log(other, left)
    other.close()
    if restarted:
        shipper = SpoolShipper(spool.folder, RUN, line.call)
    assert shipper.finish(bye(), 5.0)
    assert len(steps(fresh)) == left
    (gap,) = fresh.gaps()
    assert (gap.kind, gap.count, gap.first, gap.last) == ("missing", None, 1, 40)
    assert gap.reason == "records 1 to 40 of a stream were sent, and the server does not have them any more"
    fresh.close()


@pytest.mark.parametrize("records", [0, 20])
def test_the_end_that_a_shipper_itself_has_deleted_is_not_gone(
    tmp_path: Path, line: Line, journal: Journal, records: int
) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=600)
    log(spool, records)
    spool.close()
    spool._open_segment()  # a log call that found no room for its record leaves a segment without one
    spool.close()
    assert max(spool.folder.glob("*.spool")).stat().st_size < 100
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    while shipper.ship(ended=True):
        pass
    assert list(spool.folder.glob("*.spool")) == []
    assert SpoolShipper(spool.folder, RUN, line.call).finish(bye(), 5.0)
    assert journal.gaps() == []


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


def test_a_clock_of_ones_own_drives_it_without_a_wait(spool: Spool, line: Line, journal: Journal) -> None:
    log(spool, 20)
    spool.close()
    line.faults = ["busy", "lost", "", "lost", "lost", "deaf"]
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    began, now, waits = time.monotonic(), 0.0, []
    shipper.end(bye(20), deadline=3600.0)
    while (wait := shipper.step(now)) is not None:
        now += wait
        waits += [wait] if wait else []
    assert (shipper.complete, shipper.retries, len(waits)) == (True, 5, 5)
    assert all(0.05 <= wait <= 0.4 for wait in waits)
    assert time.monotonic() - began < 30
    assert steps(journal) == list(range(20))


def test_after_the_deadline_the_rest_is_kept_for_a_later_one(spool: Spool, line: Line) -> None:
    log(spool, 20)
    spool.close()
    line.faults = ["", *["lost"] * 10_000]
    shipper = SpoolShipper(spool.folder, RUN, line.call)
    shipper.end(bye(20), deadline=3600.0)
    now = 0.0
    while (wait := shipper.step(now)) is not None:
        now += wait
    assert 3590 < now <= 3600
    assert not shipper.complete
    assert list(spool.folder.glob("*.spool"))


def test_a_round_is_sent_with_its_frames(spool: Spool, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    log(spool, 3)
    spool.close()
    read = SpoolReader.read

    def in_round_4(self: SpoolReader, *arguments: Any, **options: Any) -> Iterator[Any]:
        for part in read(self, *arguments, **options):
            yield replace(part, round=4) if isinstance(part, frames.FrameRange) else part

    monkeypatch.setattr(SpoolReader, "read", in_round_4)
    assert SpoolShipper(spool.folder, RUN, line.call).finish(bye(3), 5.0)
    assert [message.round for message in line.sent if isinstance(message, Frames)] == [4]
