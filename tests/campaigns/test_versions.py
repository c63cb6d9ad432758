"""Sites and servers of different versions in one run, and a server that is wiped while sites log.

A version leaves files that it cannot read where they are, and reports them. Everything else goes on, and after the
upgrade nothing is missing. The next version's spool, journal and records are made by raising the numbers of this one's.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import msgspec
import pytest

from fedtrack.delivery import second_try
from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.in_process import InProcess
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.delivery.second_try import try_again
from fedtrack.errors import DamagedError, Permanent
from fedtrack.journal import journal
from fedtrack.journal.journal import Journal
from fedtrack.journal.schema import JOURNAL
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.testing import MemoryReceiver, run_info
from fedtrack.tracking import records
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric, Record, encode
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward

SITES = ("site-1", "site-2")

SITE = """
import sys
from pathlib import Path
from time import sleep
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer

folder, version, calls, pause = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
frames.VERSION = version
writer = Writer(Spool(folder, segment_bytes=2_000))
for step in range(calls):
    writer.record_metric(f"by {version}", step / 8, step)
    sleep(pause)
"""


def start_site(folder: Path, version: int, calls: int, pause: float = 0.001) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SITE, str(folder), str(version), str(calls), str(pause)])


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it did not happen in time"
        sleep(0.01)


class Server:
    """A journal, a forwarder and one receiver that keeps what it gets in memory."""

    def __init__(self, root: Path) -> None:
        self.run = run_info(root / "run", sites=SITES)
        self.journal = Journal(root / "journal.db")
        self.receiver = MemoryReceiver()
        self.forwarder = Forwarder(poll_seconds=0.01)
        for site in SITES:
            self.forwarder.add(SpoolSource(site, root / site, self.journal, self.run.blobs))
        self.ledger = Ledger(root / LEDGER_FILE, self.journal)
        self.delivery = Delivery("memory", self.receiver, self.journal, self.ledger, self.run)
        self.forwarder.start()
        self.delivery.start()

    def stop(self) -> None:
        for site in SITES:
            self.forwarder.end(site)
        self.forwarder.stop()
        self.delivery.drain("completed")
        assert self.delivery.finish(30.0).pending == 0
        self.close()

    def close(self) -> None:
        self.ledger.close()
        self.journal.close()

    def steps(self, site: str, version: int) -> list[int | None]:
        """Return what the receiver has, in the order in which it came."""
        return [s.step for s in self.receiver.stored if (s.site, s.key) == (site, f"by {version}")]


def segments(root: Path) -> dict[str, bytes]:
    found = {}
    for path in [path for site in SITES for path in (root / site).glob("*.spool")]:
        with suppress(FileNotFoundError):  # it has arrived meanwhile
            found[path.name] = path.read_bytes()
    return found


def test_newer_sites_wait_for_the_upgrade_and_keep_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One site has an older and a newer process, the other one is old; the server is upgraded last."""
    server = Server(tmp_path)
    newer = [start_site(tmp_path / "site-1", 3, 300) for _ in range(2)]
    until(lambda: "site-1" in server.forwarder.errors)
    older = [start_site(tmp_path / site, 2, 300) for site in SITES]
    until(lambda: all(len(server.steps(site, 2)) == 300 for site in SITES))
    assert "format 3, this version of fedtrack reads up to 2; upgrade it" in server.forwarder.errors["site-1"]
    assert "site-2" not in server.forwarder.errors
    assert [process.wait() for process in (*newer, *older)] == [0] * 4
    before = segments(tmp_path)
    server.stop()
    left = segments(tmp_path)
    assert left == {name: data for name, data in before.items() if data[8:12] == b"\3\0\0\0"}
    assert len(left) > 10

    monkeypatch.setattr(frames, "VERSION", 3)
    upgraded = Server(tmp_path)
    upgraded.stop()
    assert sorted(upgraded.steps("site-1", 3), key=lambda step: step or 0) == [n // 2 for n in range(600)]
    for site in SITES:
        assert upgraded.steps(site, 2) == list(range(300))  # once, and not again
    assert segments(tmp_path) == {}
    check = Journal(tmp_path / "journal.db")
    assert (check.counts(), check.gaps()) == ({"site-1": 900, "site-2": 300}, [])
    check.close()


def test_a_backlog_beside_a_refused_stream_is_brought_in_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "VERSION", 3)
    newer = Spool(tmp_path / "site-1")
    newer.append(Metric(1, "loss", 1.0))
    newer.close()
    monkeypatch.undo()
    spool = Spool(tmp_path / "site-1")
    for start in range(0, 30_000, 1_000):  # 30 MiB: several passes
        spool.extend(Metric(1, "k" * 1_000, float(value)) for value in range(start, start + 1_000))
    opened = Journal(tmp_path / "journal.db")
    forwarder = Forwarder()
    forwarder.add(SpoolSource("site-1", tmp_path / "site-1", opened, run_info(tmp_path / "run").blobs))
    began = monotonic()
    forwarder.stop(patience_seconds=600)  # not waited for: no time makes the spool an older one
    assert monotonic() - began < 300
    assert opened.counts() == {"site-1": 30_000}
    assert "format 3" in forwarder.errors["site-1"]
    opened.close()


# Records: a newer site may log kinds and fields that this server does not know, in a spool that it can read.


class Video(Record, frozen=True, array_like=True, tag=12):
    """A kind of a later version."""

    key: str
    frames: int


class LaterMetric(Record, frozen=True, array_like=True, tag=1):
    """Metric as a later version has it, with one more field."""

    key: str
    value: float
    step: int | None = None
    n: int | None = None
    unit: str = ""


class Taking(Receiver):
    """Keeps records; refuses keys that start with "bad"."""

    name = "taking"
    summary = "Keeps records."
    supports: frozenset[type[Record]] = frozenset({Metric, Video})  # type: ignore[misc]
    gather_seconds = 0.0

    def __init__(self, *, picky: bool = False) -> None:
        super().__init__()
        self.picky = picky
        self.taken: list[Record] = []

    def open(self, run: RunInfo) -> None:
        self.run = run

    def receive(self, batch: Batch) -> None:
        if self.picky and (bad := [n for n, r in enumerate(batch.records) if r.key.startswith("bad")]):  # type: ignore[attr-defined]
            raise Permanent("no such unit", bad)
        self.taken += batch.records


def deliver(opened: Journal, ledger: Ledger, receiver: Receiver, run: RunInfo) -> ReceiverTally:
    delivery = Delivery("taking", receiver, opened, ledger, run)
    delivery.start()
    delivery.drain("completed")
    return delivery.finish(30.0)


def test_records_of_a_later_version_are_kept_until_the_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[Record] = [
        Metric(1, "loss", 0.5, 0),
        Video(2, "mri", 24),
        LaterMetric(3, "loss", 0.25, 1, None, "nats"),
        LaterMetric(4, "bad", 0.125, 2, None, "bits"),
    ]
    spool = Spool(tmp_path / "spool")
    spool.extend(logged)
    spool.close()
    opened, run = Journal(tmp_path / "journal.db"), run_info(tmp_path / "run")
    source = SpoolSource("site-1", tmp_path / "spool", opened, run.blobs)
    source.ended = True
    forward(source)
    assert [bytes(p) for b in opened.read(0) for _, p in frames.split(b.body)] == [encode(record) for record in logged]

    older = Taking(picky=True)
    ledger = Ledger(tmp_path / LEDGER_FILE, opened)
    report = deliver(opened, ledger, older, run)
    assert (report.delivered, report.dead, report.pending) == (2, 2, 0)
    assert older.taken == [Metric(1, "loss", 0.5, 0), Metric(3, "loss", 0.25, 1)]  # without the field it does not know
    letters = ledger.dead_letters()
    assert [letter.payload for letter in letters] == [encode(logged[1]), encode(logged[3])]  # with all fields
    assert "not a record that this version knows" in letters[0].error

    monkeypatch.setattr(records, "_decoder", msgspec.msgpack.Decoder(records.Event | Video))
    monkeypatch.setattr(second_try, "Supervisor", InProcess)  # the receiver is a double, and the version another one
    newer = Taking()
    assert try_again("taking", newer, ledger, run, "completed", 30.0) == (2, 0, "")
    assert newer.taken == [Video(2, "mri", 24), Metric(4, "bad", 0.125, 2)]
    assert ledger.dead_letters() == []
    ledger.close()
    opened.close()


# Journals.


def test_a_downgraded_server_leaves_a_newer_journal_alone_and_the_next_upgrade_has_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = start_site(tmp_path / "site-1", 2, 600)
    with monkeypatch.context() as newer:
        newer.setattr(journal, "JOURNAL", JOURNAL._replace(format=3))
        server = Server(tmp_path)
        until(lambda: len(server.steps("site-1", 2)) > 50)
        server.forwarder.stop()
        server.delivery.drain("aborted")
        server.delivery.finish(30.0)
        server.close()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("journal.db*")}
    spooled = set(segments(tmp_path))
    with pytest.raises(DamagedError, match="has format 3, this version of fedtrack reads up to 2; upgrade it"):
        Server(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("journal.db*")} == before
    assert set(segments(tmp_path)) >= spooled
    assert site.wait() == 0  # the site has not noticed
    monkeypatch.setattr(journal, "JOURNAL", JOURNAL._replace(format=3))
    again = Server(tmp_path)
    again.stop()
    assert again.steps("site-1", 2) == list(range(600))
    assert segments(tmp_path) == {}


def test_an_upgraded_server_goes_on_with_an_older_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Back again: an upgrade that changed nothing about the file does not lock the old one out.
    for format_ in (2, 3, 2):
        monkeypatch.setattr(journal, "JOURNAL", JOURNAL._replace(format=format_))
        site = start_site(tmp_path / "site-1", 2, 100, 0.0)
        assert site.wait() == 0
        server = Server(tmp_path)
        server.stop()
    assert server.steps("site-1", 2) == [*range(100)] * 3


SERVER = """
import sys
from pathlib import Path
from time import sleep
from fedtrack.tracking.blobs import BlobStore
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource
from fedtrack.journal.journal import Journal

root = Path(sys.argv[1])
forwarder = Forwarder(poll_seconds=0.01)
forwarder.add(SpoolSource("site-1", root / "site-1", Journal(root / "journal.db"), BlobStore(root / "blobs")))
forwarder.start()
sleep(600)
"""


def test_a_wiped_server_is_a_gap_with_its_numbers_and_fresh_events_pass(tmp_path: Path) -> None:
    calls = 2_000
    site = start_site(tmp_path / "site-1", 2, calls)
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)])
    names: set[str] = set()

    def has_deleted() -> bool:
        names.update(segments(tmp_path))
        return len(names) - len(segments(tmp_path)) >= 3

    until(has_deleted)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for path in tmp_path.glob("journal.db*"):
        path.unlink()
    assert site.poll() is None, "the site was to log during all of it"
    server = Server(tmp_path)
    assert site.wait() == 0
    gaps = server.journal.gaps()
    server.stop()
    steps = server.steps("site-1", 2)
    (gap,) = gaps
    found = re.match(r"records (\d+) to (\d+) of a stream are in no spool any more", gap.reason)
    assert found is not None
    first, last = int(found[1]), int(found[2])
    assert (gap.first, gap.last) == (first, last)
    # Records are numbered from 1 and steps from 0: what is lost and what arrived are all that was logged.
    assert (gap.site, first) == ("site-1", 1)
    assert steps == list(range(last, calls))
    assert segments(tmp_path) == {}
