"""Damage to a spool is named with its place, kept as evidence, counted once, and costs no record beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.runs.tally import CountedSite, Goodbye, Tally, take_tally
from fedtrack.spool import frames
from fedtrack.spool.segments import DAMAGED_FOLDER
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.transport.intake import Intake
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.spool_source import SpoolSource
from fedtrack.transport.wire import Bye
from support.forwarding import forward
from support.shipping import RUN, Line, log, steps

COUNT = 100

Damage = Callable[[list[Path]], Path]


def empty(path: Path) -> Path:
    os.truncate(path, 0)
    return path


def cut(path: Path, frames_left: float) -> Path:
    """Cut a segment behind some of its frames, which all have the same size."""
    data = path.read_bytes()
    start = frames.frames_start(data)
    size = data.index(frames.MAGIC, start + 2) - start
    os.truncate(path, start + int(size * frames_left))
    return path


def flip(path: Path, offset: int) -> Path:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x55
    path.write_bytes(data)
    return path


def delete(path: Path) -> Path:
    path.unlink()
    return path


def replace(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def delete_all(paths: list[Path]) -> Path:
    for path in paths:
        path.unlink()
    return paths[-1]


#: What happens to the segments of a stream, of which some are in the middle; the name of the segment that is damaged.
DAMAGES: dict[str, Damage] = {
    "middle emptied": lambda paths: empty(paths[2]),
    "middle cut at a frame's edge": lambda paths: cut(paths[2], 5),
    "middle cut in a frame": lambda paths: cut(paths[2], 5.5),
    "middle cut in its header": lambda paths: cut(paths[2], -1),
    "middle deleted": lambda paths: delete(paths[2]),
    "middle replaced by another file": lambda paths: replace(paths[2], b"something else entirely" * 100),
    "middle replaced by another segment": lambda paths: replace(paths[2], paths[1].read_bytes()),
    "middle with a flipped byte": lambda paths: flip(paths[2], 300),
    "header with a flipped byte": lambda paths: flip(paths[2], 20),
    "newest emptied": lambda paths: empty(paths[-1]),
    "newest cut at a frame's edge": lambda paths: cut(paths[-1], 2),
    "newest cut in a frame": lambda paths: cut(paths[-1], 2.5),
    "newest deleted": lambda paths: delete(paths[-1]),
    "newest replaced by another file": lambda paths: replace(paths[-1], b"something else"),
    "newest with a flipped byte": lambda paths: flip(paths[-1], 150),
    "all deleted": delete_all,
}

#: Only its page tells where the stream of a process ends that has closed its spool.
ONLY_IF_CLOSED = {"newest cut at a frame's edge", "newest cut in a frame"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", segment_bytes=1_000)


def kill(spool: Spool) -> None:
    """Leave the files of a spool as SIGKILL does: not locked any more, and without a word about their end."""
    if spool._fd >= 0:
        os.close(spool._fd)
        spool._fd = -1
    spool._counts.close()


def end(spool: Spool, *, closed: bool) -> list[Path]:
    """End the process of a spool, in order or by SIGKILL; return its segments."""
    if closed:
        spool.close()
    else:
        kill(spool)
    paths = sorted(spool.folder.glob("*.spool"))
    assert len(paths) >= 5
    return paths


def tally(journal: Journal, spool: Spool) -> Tally:
    ledger = Ledger(journal.path.with_name(LEDGER_FILE), journal)
    try:
        return take_tally({"server": (journal, ledger)}, [CountedSite("site-1", spool.folder, Goodbye())])
    finally:
        ledger.close()


def forward_all(journal: Journal, spool: Spool) -> None:
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(journal.path.parent / "blobs"))
    source.ended = True
    while forward(source):
        pass


def ship_all(journal: Journal, spool: Spool) -> None:
    line = Line(Intake(RUN, journal, BlobStore(journal.path.parent / "blobs")))
    assert SpoolShipper(spool.folder, RUN, line.call).finish(lambda final: Bye(RUN, final, None, 0), 5.0)


@pytest.mark.parametrize("bring_in", [forward_all, ship_all])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_kept_and_costs_no_record_beside_it(
    journal: Journal, spool: Spool, name: str, closed: bool, bring_in: Callable[[Journal, Spool], None]
) -> None:
    if name in ONLY_IF_CLOSED and not closed:
        pytest.skip("a process that was killed has told nobody where its last file ends")
    log(spool, COUNT)
    paths = end(spool, closed=closed)
    before = {path: path.read_bytes() for path in paths}
    path = DAMAGES[name](paths)

    # As verify sees it: nothing is changed, and nothing is called complete.
    seen = tally(journal, spool)
    assert not seen.events_complete
    assert any(path.name in reason for _, reason in seen.gaps), seen.gaps

    bring_in(journal, spool)
    bring_in(journal, spool)
    found = steps(journal)
    assert found == sorted(set(found))
    assert set(found) <= set(range(COUNT))
    reasons = [gap.reason for gap in journal.gaps()]
    assert any(path.name in reason for reason in reasons), reasons
    assert len(reasons) == len(set(reasons))
    after = tally(journal, spool)
    assert not after.events_complete
    assert sorted(reason for _, reason in after.gaps) == sorted(reasons)

    # Each record of another segment has arrived.
    touched = paths if name == "all deleted" else [path]
    bodies = [data[frames.frames_start(data) :] for one, data in before.items() if one not in touched]
    others = sum(1 for body in bodies for _ in frames.split(body))
    assert len(found) >= others
    # The evidence is kept, and nothing else is.
    kept = [one.name for one in (spool.folder / DAMAGED_FOLDER).glob("*")]
    assert kept == ([] if "deleted" in name else [path.name])
    assert list(spool.folder.glob("*.spool")) == []


@pytest.mark.parametrize("closed", [True, False])
def test_without_damage_nothing_is_said(journal: Journal, spool: Spool, closed: bool) -> None:
    log(spool, COUNT)
    end(spool, closed=closed)
    assert tally(journal, spool).gaps == []
    forward_all(journal, spool)
    assert steps(journal) == list(range(COUNT))
    found = tally(journal, spool)
    assert (found.gaps, found.events_complete) == ([], True)
    assert not (spool.folder / DAMAGED_FOLDER).exists()


LIVE: dict[str, Callable[[Spool], None]] = {
    "segment deleted": lambda spool: sorted(spool.folder.glob("*.spool"))[-1].unlink(),
    "segment emptied": lambda spool: os.truncate(sorted(spool.folder.glob("*.spool"))[-1], 0),
    "segment cut": lambda spool: os.truncate(sorted(spool.folder.glob("*.spool"))[-1], 150),
    "segment replaced": lambda spool: _put_another_in_its_place(sorted(spool.folder.glob("*.spool"))[-1]),
    "folder deleted": lambda spool: shutil.rmtree(spool.folder),
}


def _put_another_in_its_place(path: Path) -> None:
    other = path.with_name("copy")
    other.write_bytes(path.read_bytes()[:200])
    other.replace(path)


@pytest.mark.parametrize("more", [0, 5, 60])
@pytest.mark.parametrize("name", LIVE)
def test_what_is_deleted_or_cut_while_its_process_writes_is_said(
    journal: Journal, spool: Spool, name: str, more: int
) -> None:
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(journal.path.parent / "blobs"))
    log(spool, 50)
    forward(source)
    arrived = steps(journal)
    assert arrived == list(range(50))
    LIVE[name](spool)
    forward(source)
    log(spool, more, start=50)
    forward(source)
    kill(spool)
    source.ended = True
    while forward(source):
        pass
    found = steps(journal)
    assert found == sorted(set(found))
    assert found[:50] == arrived
    assert journal.gaps()
    assert {gap.site for gap in journal.gaps()} == {"site-1"}
    assert not tally(journal, spool).events_complete


def test_a_file_that_was_cut_and_has_grown_again_hides_no_record(journal: Journal, spool: Spool) -> None:
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(journal.path.parent / "blobs"))
    log(spool, 10)
    forward(source)
    (path,) = spool.folder.glob("*.spool")
    os.truncate(path, path.stat().st_size - 100)
    log(spool, 5, start=10)  # longer again than what was read before
    forward(source)
    assert steps(journal) == list(range(15))


@pytest.mark.parametrize("newest", [True, False])
def test_a_folder_that_is_deleted_after_its_process_has_ended_is_said(
    journal: Journal, spool: Spool, newest: bool
) -> None:
    log(spool, 10)
    forward(SpoolSource("site-1", spool.folder, journal, BlobStore(journal.path.parent / "blobs")))
    log(spool, 10, start=10)
    if newest:
        spool.close()
    shutil.rmtree(spool.folder)
    found = tally(journal, spool)
    assert "is gone, and fedtrack has not deleted it; records from number 11 on may be lost" in found.gaps[0][1]
    assert not found.events_complete
    forward_all(journal, spool)
    assert len(journal.gaps()) == 1
    assert tally(journal, spool).gaps == found.gaps


def test_what_the_journal_has_is_not_lost_with_its_bytes(journal: Journal, spool: Spool) -> None:
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(journal.path.parent / "blobs"))
    log(spool, 10)
    forward(source)
    (path,) = spool.folder.glob("*.spool")
    flip(path, 150)
    spool.close()
    forward_all(journal, spool)
    assert steps(journal) == list(range(10))
    (gap,) = journal.gaps()
    assert (gap.kind, gap.count) == ("damaged", 0)
    assert [one.name for one in (spool.folder / DAMAGED_FOLDER).iterdir()] == [path.name]
