"""One receiver hangs, one raises, one is slow: the healthy one, the server's memory and the training do not notice.

With FEDTRACK_SOAK=1 there are ten pairs of runs, with and without them, and the delay of events is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from array import array
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep, time_ns

import pytest

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.journal.journal import Journal
from fedtrack.testing import run_info
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

from .soak import SOAK

PAIRS, STEPS = (10 if SOAK else 1), 3_000
MOST_MIB, MOST_LAG_SECONDS = 20, 1.0

#: A training: some work, and a log call, a thousand times a second.
SITE = """
import sys
from math import sin
from pathlib import Path
from time import perf_counter, sleep
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer

spool = Spool(Path(sys.argv[1]), segment_bytes=100_000)
writer = Writer(spool)
begun = perf_counter()
working = 0.0
for step in range(int(sys.argv[2])):
    start = perf_counter()
    loss = sum(sin(n) for n in range(1_000))
    writer.record_metric("loss", loss, step)
    working += perf_counter() - start
    sleep(0.0005)
spool.close()
print(working)
"""


class _Double(Receiver):
    summary = "For this campaign."
    supports = frozenset({Metric})
    gather_seconds = 0.05

    def open(self, run: RunInfo) -> None:
        """Succeed."""


class Hanging(_Double):
    name = "hanging"

    def __init__(self) -> None:
        super().__init__()
        self.called, self.release = threading.Event(), threading.Event()

    def receive(self, batch: Batch) -> None:
        self.called.set()
        self.release.wait(3_600)


class Raising(_Double):
    name = "raising"

    def receive(self, batch: Batch) -> None:
        raise RuntimeError("always")


class Slow(_Double):
    name = "slow"
    max_records = 100

    def receive(self, batch: Batch) -> None:
        sleep(0.05)


class Healthy(_Double):
    """Remembers how old each event was when it came."""

    name = "healthy"

    def __init__(self) -> None:
        super().__init__()
        self.lags = array("d")
        self.steps = array("q")

    def receive(self, batch: Batch) -> None:
        now = time_ns()
        for record in batch.records:
            assert isinstance(record, Metric)
            self.lags.append((now - record.time_ns) / 1e9)
            self.steps.append(record.step or 0)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Run:
    """What a training and its server had of each other.

    Attributes:
        healthy: The receiver that works.
        reports: What each delivery says at the end.
        working: Seconds of the training's work and its log calls.
        grown_mib: How much memory the server took on top, at most.
    """

    healthy: Healthy
    reports: dict[str, ReceiverTally]
    working: float
    grown_mib: float


def run(root: Path, *, bad: bool) -> Run:
    journal = Journal(root / "journal.db")
    info = run_info(root / "run", sites=["site-1"])
    healthy, hanging = Healthy(), Hanging()
    receivers: list[Receiver] = [hanging, Raising(), Slow(), healthy] if bad else [healthy]
    ledger = Ledger(root / LEDGER_FILE, journal)
    deliveries = [Delivery(r.name, r, journal, ledger, info, backoff_seconds=0.05) for r in receivers]
    forwarder = Forwarder(poll_seconds=0.01)
    forwarder.add(SpoolSource("site-1", root / "site-1", journal, info.blobs))
    for part in (forwarder, *deliveries):
        part.start()
    before = most = resident_mib()
    site = subprocess.Popen([sys.executable, "-c", SITE, str(root / "site-1"), str(STEPS)], stdout=subprocess.PIPE)
    deadline = monotonic() + 250
    while len(healthy.steps) < STEPS:
        assert monotonic() < deadline, f"the healthy receiver has {len(healthy.steps)} of {STEPS} events"
        sleep(0.02)
        most = max(most, resident_mib())
    if bad:  # it has everything, and the one that hangs is still in its first call
        assert hanging.called.is_set()
        assert ledger.cursor("hanging").batch == 0
    output, _ = site.communicate()
    forwarder.end("site-1")
    forwarder.stop()
    for delivery in deliveries:
        delivery.drain("completed")
    reports = {d.name: d.finish(1.0 if d.name == "hanging" else 60.0) for d in deliveries}
    hanging.release.set()
    ledger.close()
    journal.close()
    return Run(healthy, reports, float(output), most - before)


@pytest.mark.timeout(0 if SOAK else 300)
def test_healthy_receiver_memory_and_training_do_not_notice_the_others(tmp_path: Path) -> None:
    pairs = []
    for number in range(PAIRS):
        alone = run(tmp_path / f"{number}-alone", bad=False)
        among = run(tmp_path / f"{number}-among", bad=True)
        pairs.append((alone, among))
        for found in (alone, among):
            assert list(found.healthy.steps) == list(range(STEPS))
            assert (found.reports["healthy"].delivered, found.reports["healthy"].pending) == (STEPS, 0)
        reports = among.reports
        assert (reports["hanging"].delivered, reports["hanging"].pending) == (0, STEPS)
        assert (reports["raising"].delivered, reports["raising"].dead) == (0, STEPS)  # kept, each with the reason
        assert (reports["slow"].delivered, reports["slow"].pending) == (STEPS, 0)
        assert among.grown_mib <= MOST_MIB
    lags = sorted(lag for _, among in pairs for lag in among.healthy.lags)
    p99 = lags[int(0.99 * len(lags))]
    ratios = sorted(among.working / alone.working for alone, among in pairs)
    grown = max(among.grown_mib for _, among in pairs)
    print(
        f"{PAIRS} pairs of {STEPS:,} events: among bad receivers the healthy one had half of the events after "
        f"{median(lags):.2f} s and 99 % after {p99:.2f} s; the server took {grown:.0f} MiB more; the training took "
        f"{median(ratios):.3f} times as long ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )
    if SOAK:
        assert p99 <= MOST_LAG_SECONDS
