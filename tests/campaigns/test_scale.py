"""10,000 sites that log 10 events each: into the journal, from a spool folder each, and from a few processes for all.

A folder for each site means a commit for each site, and 10,000 of them take long. Without FEDTRACK_SOAK=1 there are
1,000.

``python -m pytest -s tests/campaigns/test_scale.py`` prints the batches per second on this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, perf_counter, sleep

import pytest

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.testing import run_info
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric, encode
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.shared_source import SharedSource
from fedtrack.transport.spool_source import SpoolSource

from .soak import SOAK

SITES, EVENTS, GROUP = 10_000, 10, 500
#: Processes that log at once, and how many spools each of them has open at a time.
PROCESSES, OPEN_SPOOLS = 4, 50
MOST_MIB = 300


class Counting(Receiver):
    """Counts what it takes, by site."""

    name = "counting"
    summary = "Counts."
    supports = frozenset({Metric})

    def open(self, run: RunInfo) -> None:
        self.taken: dict[str, list[int]] = {}

    def receive(self, batch: Batch) -> None:
        # Steps and not sequence numbers: a stream that sites share numbers the events of all.
        steps = [record.step or 0 for record in batch.records if isinstance(record, Metric)]
        self.taken.setdefault(batch.site, []).extend(steps)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Server:
    """A journal and one receiver, and how much memory they take."""

    def __init__(self, root: Path) -> None:
        self.before = self.most = resident_mib()
        self.journal = Journal(root / "journal.db")
        self.run = run_info(root / "run")
        self.receiver = Counting()
        self.ledger = Ledger(root / LEDGER_FILE, self.journal)
        self.delivery = Delivery("counting", self.receiver, self.journal, self.ledger, self.run)
        self.delivery.start()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = monotonic() + 200
        while not condition():
            assert monotonic() < deadline, f"only {self.journal.total():,} events"
            self.most = max(self.most, resident_mib())
            sleep(0.05)

    def finish(self) -> ReceiverTally:
        self.delivery.drain("completed")
        report = self.delivery.finish(60.0)
        self.most = max(self.most, resident_mib())
        return report

    def check(self, report: ReceiverTally, first: int = 0, sites: int = SITES) -> None:
        """Look for every event of every site, once and in order, steps counting from ``first``."""
        names = [f"site-{number}" for number in range(sites)]
        assert self.journal.counts() == dict.fromkeys(sorted(names), EVENTS)
        assert self.journal.gaps() == []
        assert (report.delivered, report.pending, report.dead) == (sites * EVENTS, 0, 0)
        assert self.receiver.taken == {name: list(range(first, first + EVENTS)) for name in names}
        assert self.most - self.before < MOST_MIB
        self.ledger.close()
        self.journal.close()


def test_nothing_is_lost_of_ten_thousand_sites(tmp_path: Path) -> None:
    server = Server(tmp_path)
    batches = []
    for number in range(SITES):
        stream = f"{number:032x}"
        salt = frames.salt_of(stream)
        body = b"".join(frames.frame(seq, encode(Metric(seq, "loss", 1.0, seq)), salt) for seq in range(1, EVENTS + 1))
        batches.append((f"site-{number}", stream, frames.FrameRange(1, EVENTS, EVENTS, body)))
    begun = perf_counter()
    for start in range(0, SITES, GROUP):
        marks = server.journal.apply_all(batches[start : start + GROUP])
        assert set(marks.values()) == {EVENTS}
    seconds = perf_counter() - begun
    for start in range(0, SITES, GROUP):  # all of it a second time: duplicates cost next to nothing and store nothing
        server.journal.apply_all(batches[start : start + GROUP])
    report = server.finish()
    print(f"into the journal: {SITES / seconds:,.0f} batches/s, +{server.most - server.before:.0f} MiB")
    server.check(report, 1)


FOLDER_EACH = """
import sys
from pathlib import Path
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer

root, first, last, at_once, events = Path(sys.argv[1]), *map(int, sys.argv[2:])
for start in range(first, last, at_once):
    spools = [Spool(root / f"site-{number}") for number in range(start, min(last, start + at_once))]
    for step in range(events):
        for spool in spools:
            Writer(spool).record_metric("loss", 1.0, step)
    for spool in spools:
        spool.close()
"""

ONE_FOR_ALL = """
import sys
from pathlib import Path
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.writer import Writer

root, first, last, at_once, events = Path(sys.argv[1]), *map(int, sys.argv[2:])
spool = SharedSpool(root / f"host-{first}")
writer = Writer(spool)
for number in range(first, last):
    spool.enter(f"site-{number}")
    for step in range(events):
        writer.record_metric("loss", 1.0, step)
spool.close()
"""


def folder_each(server: Server, root: Path, first: int, last: int) -> Iterable[SpoolSource]:
    for number in range(first, last):
        yield SpoolSource(f"site-{number}", root / f"site-{number}", server.journal, server.run.blobs)


def one_for_all(server: Server, root: Path, first: int, last: int) -> Iterable[SpoolSource]:
    sites = [f"site-{number}" for number in range(first, last)]
    yield SharedSource(f"host-{first}", root / f"host-{first}", server.journal, server.run.blobs, sites)


@pytest.mark.parametrize(
    ("script", "sources", "sites"),
    [(FOLDER_EACH, folder_each, SITES if SOAK else 1_000), (ONE_FOR_ALL, one_for_all, SITES)],
    ids=["folder each", "one for all"],
)
def test_nothing_is_lost_of_ten_thousand_spools(
    tmp_path: Path, script: str, sources: Callable[[Server, Path, int, int], Iterable[SpoolSource]], sites: int
) -> None:
    share = sites // PROCESSES
    server = Server(tmp_path)
    forwarder = Forwarder()
    begun = perf_counter()
    writers = []
    for first in range(0, sites, share):
        for source in sources(server, tmp_path / "spools", first, first + share):
            forwarder.add(source)
        numbers = map(str, (first, first + share, OPEN_SPOOLS, EVENTS))
        writers.append(subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "spools"), *numbers]))
    forwarder.start()
    server.wait_for(lambda: all(writer.poll() is not None for writer in writers))
    assert [writer.returncode for writer in writers] == [0] * PROCESSES
    forwarder.end_all()
    server.wait_for(lambda: server.journal.total() == sites * EVENTS)
    seconds = perf_counter() - begun
    forwarder.stop()
    report = server.finish()
    rows = server.journal.last_batch()
    print(f"{rows:,} batches from the spools: {rows / seconds:,.0f} a second, +{server.most - server.before:.0f} MiB")
    assert not list((tmp_path / "spools").rglob("*.spool"))
    server.check(report, sites=sites)
