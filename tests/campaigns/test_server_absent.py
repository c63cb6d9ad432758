"""A server that is away while four sites log: nothing is lost, no log call notices, and it catches up.

With FEDTRACK_SOAK=1 it is away for a minute, or as long as ``soak.py`` says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.testing import MemoryReceiver, run_info
from fedtrack.tracking.records import Metric, decode
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

from .scoreboard import Row
from .soak import AWAY_SECONDS, SOAK

SITES = tuple(f"site-{number}" for number in range(4))
PER_SECOND = 1_000

WRITER = """
import json, sys
from pathlib import Path
from time import monotonic, perf_counter_ns, sleep
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer

folder, seconds, rate = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
spool = Spool(folder / "spool")
writer = Writer(spool)
times = []
begun = monotonic()
while (now := monotonic() - begun) < seconds:
    while len(times) < now * rate:
        start = perf_counter_ns()
        writer.record_metric("loss", 0.5, len(times))
        times.append(perf_counter_ns() - start)
    sleep(0.002)
spool.close()
print(json.dumps(times))
"""


def start_writers(root: Path, seconds: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root / site), str(seconds), str(PER_SECOND)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for site in SITES
    ]


def times_of(writers: list[subprocess.Popen[str]]) -> list[list[int]]:
    outputs = [writer.communicate(timeout=AWAY_SECONDS + 600)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * len(writers)
    return [json.loads(output) for output in outputs]


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Server:
    """A journal, a forwarder and one receiver."""

    def __init__(self, root: Path) -> None:
        run = run_info(root / "run", sites=SITES)
        self.journal = Journal(root / "journal.db")
        self.forwarder = Forwarder()
        for site in SITES:
            self.forwarder.add(SpoolSource(site, root / site / "spool", self.journal, run.blobs))
        self.ledger = Ledger(root / LEDGER_FILE, self.journal)
        self.delivery = Delivery("memory", MemoryReceiver(), self.journal, self.ledger, run)
        self.forwarder.start()
        self.delivery.start()

    def wait_for(self, count: int, seconds: float) -> None:
        deadline = monotonic() + seconds
        while sum(self.journal.counts().values()) < count:
            assert monotonic() < deadline, f"{self.journal.counts()} of {count}"
            sleep(0.02)

    def stop(self) -> int:
        for site in SITES:
            self.forwarder.end(site)
        self.forwarder.stop()
        self.delivery.drain("completed")
        report = self.delivery.finish(60.0)
        self.ledger.close()
        self.journal.close()
        return report.delivered


def count_wrong(path: Path, logged: dict[str, int]) -> tuple[int, int, int]:
    """Return how many events are lost, doubled and disordered, of the steps from 0 on that each site has logged."""
    journal = Journal(path)
    arrived = dict.fromkeys(logged, 0)
    newest = dict.fromkeys(logged, -1)
    doubled = disordered = after = 0
    while batches := journal.read(after):
        for batch in batches:
            after = batch.id
            for _, payload in frames.split(batch.body):
                record = decode(payload)
                assert isinstance(record, Metric)
                assert record.step is not None
                doubled += record.step == newest[batch.site]
                disordered += record.step < newest[batch.site]
                arrived[batch.site] += record.step > newest[batch.site]
                newest[batch.site] = max(newest[batch.site], record.step)
    journal.close()
    return sum(logged.values()) - sum(arrived.values()), doubled, disordered


@pytest.mark.timeout(0 if SOAK else 300)
def test_absence_of_the_server_is_not_noticed_and_made_up_for(tmp_path: Path, scoreboard: list[Row]) -> None:
    present = Server(tmp_path / "present")
    healthy = times_of(start_writers(tmp_path / "present", AWAY_SECONDS))
    assert present.stop() == sum(map(len, healthy))

    away = times_of(start_writers(tmp_path / "away", AWAY_SECONDS))
    logged = sum(map(len, away))
    assert logged > 0.8 * len(SITES) * PER_SECOND * AWAY_SECONDS, "hardly anything was logged"
    before, begun = resident_mib(), monotonic()
    server = Server(tmp_path / "away")
    server.wait_for(logged, AWAY_SECONDS)
    caught_up = monotonic() - begun
    grown = resident_mib() - before
    delivered = server.stop()
    wrong = count_wrong(server.journal.path, {site: len(times) for site, times in zip(SITES, away, strict=True)})

    calls = [sorted(time for times in side for time in times) for side in (healthy, away)]
    p50, p999 = ([side[int(len(side) * share)] / 1000 for side in calls] for share in (0.5, 0.999))
    print(
        f"away {AWAY_SECONDS:.0f} s: {logged:,} events caught up in {caught_up:.1f} s; log call p50 {p50[0]:.1f} and "
        f"{p50[1]:.1f} µs, p99.9 {p999[0]:.0f} and {p999[1]:.0f} µs, with and without server; +{grown:.0f} MiB"
    )
    passed = (delivered, *wrong) == (logged, 0, 0, 0) and p50[1] < 2 * p50[0]
    name = f"{len(SITES)} sites log {PER_SECOND:,} events a second, {AWAY_SECONDS} s without a server"
    scoreboard.append(Row(name, None, 0, 0, logged, *wrong, caught_up, passed))
    assert (delivered, *wrong) == (logged, 0, 0, 0)
    assert p50[1] < 2 * p50[0]
