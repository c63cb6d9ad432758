"""Spools shared by many sites: each site gets its own records, also after kills, forks, torn writes and full disks."""

from __future__ import annotations

import gc
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.journal import journal as journal_module
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.hosted import unwrap
from fedtrack.spool.shared import SharedSpool
from fedtrack.spool.spool import MIN_LIMIT_BYTES
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Artifact, BlobRef, Metric, Rejected, decode
from fedtrack.tracking.writer import Writer
from fedtrack.transport.shared_source import SharedSource
from support.forwarding import forward

SITES = ["a", "site-2", "x" * 40, "y" * 64]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def source(root: Path, journal: Journal, sites: list[str] = SITES, **options: Any) -> SharedSource:
    return SharedSource("@worker-1", root / "spool", journal, BlobStore(root / "blobs"), sites, **options)


def drain(reader: SharedSource) -> None:
    reader.ended = True
    while forward(reader):
        pass


def stored(journal: Journal) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for batch in journal.read(0, limit_bytes=2**40):
        records = [decode(payload) for _, payload in frames.split(batch.body)]
        found.setdefault(batch.site, []).extend(records)
    return found


def values(journal: Journal) -> dict[str, list[float]]:
    return {site: [r.value for r in records if isinstance(r, Metric)] for site, records in stored(journal).items()}


def test_each_site_gets_what_it_logged_in_order(tmp_path: Path, journal: Journal) -> None:
    spool = SharedSpool(tmp_path / "spool", segment_bytes=500)
    expected: dict[str, list[float]] = {}
    generator = random.Random(1)
    for number in range(500):
        site = generator.choice(SITES)
        spool.enter(site)
        spool.append(Metric(1, "loss", float(number)))
        expected.setdefault(site, []).append(float(number))
    drain(source(tmp_path, journal, read_bytes=700))
    assert values(journal) == expected
    assert journal.counts() == {site: len(found) for site, found in expected.items()}
    assert not journal.gaps()


def test_reading_again_after_a_restart_stores_nothing_twice(tmp_path: Path, journal: Journal) -> None:
    spool = SharedSpool(tmp_path / "spool")
    for number in range(10):
        spool.enter("a" if number % 2 else "site-2")
        spool.append(Metric(1, "loss", float(number)))
        drain(source(tmp_path, journal, delete=False))
    assert values(journal) == {"a": [1.0, 3.0, 5.0, 7.0, 9.0], "site-2": [0.0, 2.0, 4.0, 6.0, 8.0]}
    assert journal.high_water("@worker-1", spool.stream) == 10


def test_failed_commit_moves_neither_records_nor_the_mark(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = SharedSpool(tmp_path / "spool")
    for site in SITES:
        spool.enter(site)
        spool.append(Metric(1, "loss", 1.0))
    reader = source(tmp_path, journal)

    def fail(writer: sqlite3.Connection, site: str, *args: Any) -> int:
        if site == SITES[2]:
            raise WorkspaceError("the disk is full")
        return int(real(writer, site, *args))

    real = journal_module._store
    monkeypatch.setattr(journal_module, "_store", fail)
    with pytest.raises(WorkspaceError):
        forward(reader)
    assert journal.counts() == {}
    assert journal.high_water("@worker-1", spool.stream) == 0
    monkeypatch.undo()
    drain(reader)
    assert values(journal) == {site: [1.0] for site in SITES}


def test_every_bit_flip_costs_one_record_at_most_and_moves_none(tmp_path: Path) -> None:
    spool = SharedSpool(tmp_path / "spool")
    for number in range(6):
        spool.enter(f"site-{number}")
        spool.append(Metric(1, "loss", float(number)))
    spool.close()
    (path,) = (tmp_path / "spool").glob("*.spool")
    intact = path.read_bytes()
    sites = [f"site-{number}" for number in range(6)]
    for bit in range(frames.HEADER_SIZE * 8, len(intact) * 8, 13):
        damaged = bytearray(intact)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found = Journal(tmp_path / f"{bit}.db")
        try:
            drain(source(tmp_path, found, sites, delete=False))
            shown = values(found)
            assert len(shown) >= 5, bit
            assert all(kept == [float(site[-1])] for site, kept in shown.items()), bit
            # A flip in the last frame's length can look like the last write of a killed process, which is no loss.
            assert len(shown) == 6 or found.gaps() or "site-5" not in shown, bit
        finally:
            found.close()
            for leftover in tmp_path.glob(f"{bit}.db*"):
                leftover.unlink()


KILLED = """
import sys
from pathlib import Path
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.records import Metric
spool = SharedSpool(Path(sys.argv[1]), segment_bytes=4000)
number = 0
while True:
    for site in ("a", "site-2"):
        spool.enter(site)
        spool.append(Metric(1, "loss", float(number)))
        print(site, number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("lines", [1, 50, 777])
def test_what_returned_before_a_kill_arrives(tmp_path: Path, journal: Journal, lines: int) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "spool")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += [line.split() for line in process.stdout.read().splitlines() if len(line.split()) == 2]
    drain(source(tmp_path, journal))
    found = values(journal)
    for site in ("a", "site-2"):
        returned = [float(number) for name, number in said if name == site]
        assert found.get(site, [])[: len(returned)] == returned
        assert len(found.get(site, [])) <= len(returned) + 1


def test_other_sites_names_are_a_reported_loss(tmp_path: Path, journal: Journal) -> None:
    spool = SharedSpool(tmp_path / "spool")
    for site in ("a", "hospital-9", "a"):
        spool.enter(site)
        spool.append(Metric(1, "loss", 1.0))
    drain(source(tmp_path, journal))
    assert values(journal) == {"a": [1.0, 1.0]}
    (gap,) = journal.gaps()
    assert (gap.site, gap.stream, gap.kind, gap.first, gap.last) == ("@worker-1", spool.stream, "refused", 2, 2)
    assert gap.reason == "record 2 is of 'hospital-9', which is not one of its sites"


def test_what_no_site_logged_is_reported(tmp_path: Path, journal: Journal) -> None:
    spool = SharedSpool(tmp_path / "spool")
    spool.append(Metric(1, "loss", 1.0))
    spool.enter("a")
    spool.append(Metric(1, "loss", 2.0))
    drain(source(tmp_path, journal))
    assert values(journal) == {"a": [2.0]}
    assert [gap.reason for gap in journal.gaps()] == ["record 1 was logged outside of a site's function"]


def test_full_spool_says_how_many_calls_found_no_room(tmp_path: Path, journal: Journal) -> None:
    spool = SharedSpool(tmp_path / "spool", limit_bytes=MIN_LIMIT_BYTES)
    spool.enter("a")
    for _ in range(3000):
        spool.append(Metric(1, "loss", 1.0))
    spool.close()
    drain(source(tmp_path, journal))
    kept, dropped = journal.counts()["a"], spool.dropped
    assert dropped > 0
    assert kept + dropped == 3000
    said = [gap.reason for gap in journal.gaps()]
    assert sum(int(reason.split(", ")[1].split()[0]) for reason in said) == dropped


def test_large_values_and_refusals_belong_to_their_site(tmp_path: Path, journal: Journal) -> None:
    spool = SharedSpool(tmp_path / "spool")
    writer = Writer(spool)
    spool.enter("a")
    writer.record_artifact("model.bin", b"m" * 100_000)
    spool.enter("site-2")
    writer.record_metric("loss", "no number")
    drain(source(tmp_path, journal))
    found = stored(journal)
    (artifact,), (rejected,) = found["a"], found["site-2"]
    assert isinstance(artifact, Artifact)
    assert isinstance(artifact.data, BlobRef)
    assert BlobStore(tmp_path / "blobs").read(artifact.data) == b"m" * 100_000
    assert isinstance(rejected, Rejected)


def test_forked_child_logs_for_the_same_site(tmp_path: Path, journal: Journal) -> None:
    spool = SharedSpool(tmp_path / "spool")
    spool.enter("site-2")
    spool.append(Metric(1, "loss", 1.0))
    pid = os.fork()
    if pid == 0:
        spool.append(Metric(1, "loss", 2.0))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    drain(source(tmp_path, journal))
    assert sorted(values(journal)["site-2"]) == [1.0, 2.0]


def test_call_inside_a_call_logs_for_the_same_site(tmp_path: Path, journal: Journal) -> None:
    """A signal handler may log while its own thread is inside append()."""
    spool = SharedSpool(tmp_path / "spool")
    spool.enter("a")
    spool._writing = True  # as inside an outer call
    spool.append(Metric(1, "loss", 1.0))
    spool.enter("site-2")
    spool.append(Metric(1, "loss", 2.0))
    spool._writing = False
    spool.append(Metric(1, "loss", 3.0))
    drain(source(tmp_path, journal))
    found = values(journal)
    assert (found["a"], sorted(found["site-2"])) == ([1.0], [2.0, 3.0])
    assert spool.stored == 3


@pytest.mark.parametrize("name", ["a", "x" * 31, "x" * 32, "é" * 16, "z" * 255])
def test_wrapping_is_undone(tmp_path: Path, name: str) -> None:
    spool = SharedSpool(tmp_path / "spool")
    spool.enter(name)
    payload = spool._encode(Metric(1, "loss", 1.0))
    hosted = unwrap(memoryview(payload))
    assert hosted is not None
    assert (hosted[0], decode(hosted[1])) == (name, Metric(1, "loss", 1.0))


NOT_WRAPPED = [b"", b"\x93", b"\x93\x0a", b"\x93\x01\xa1a", b"\x92\x0a\xa1a"]
#: The beginning of a wrapped payload, and then no name, or one that is cut short or no UTF-8.
NO_NAME = [b"\x93\x0a\xd9", b"\x93\x0a\xc0\x01", b"\x93\x0a\xa5ab", b"\x93\x0a\xd9\x05ab", b"\x93\x0a\xa1\xff\x01"]


@pytest.mark.parametrize("payload", NOT_WRAPPED + NO_NAME)
def test_what_is_not_wrapped_stays_as_it_is(payload: bytes) -> None:
    assert unwrap(memoryview(payload)) is None


@pytest.mark.parametrize("payload", NOT_WRAPPED + NO_NAME)
def test_what_is_not_wrapped_is_a_gap_and_stops_nothing(tmp_path: Path, journal: Journal, payload: bytes) -> None:
    spool = SharedSpool(tmp_path / "spool")
    spool.enter("a")
    spool.append(Metric(1, "loss", 1.0))
    spool._encode = lambda _: payload
    spool.append(Metric(1, "loss", 2.0))
    spool._encode = spool._wrapped
    spool.append(Metric(1, "loss", 3.0))
    drain(source(tmp_path, journal))
    assert values(journal)["a"] == [1.0, 3.0]
    (gap,) = journal.gaps()
    reason = gap.reason
    assert "record 2" in reason


def test_many_sites_need_one_file(tmp_path: Path) -> None:
    gc.collect()  # files of other tests must not be closed while this one counts
    before = len(list(Path("/proc/self/fd").iterdir()))
    spool = SharedSpool(tmp_path / "spool")
    for number in range(10_000):
        spool.enter(f"site-{number}")
        spool.append(Metric(1, "loss", 1.0))
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 2  # and the page of counts
    assert len(list((tmp_path / "spool").glob("*.spool"))) == 1
