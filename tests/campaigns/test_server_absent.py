"""A server that is away while four sites log: nothing is lost, no log call notices, and it catches up.

FEDTRACK_SOAK=1: away for a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import pytest

from fedtrack.testing import MemoryReceiver, run_info
from fedtrack.tracking.delivery import Delivery
from fedtrack.tracking.forwarder import Forwarder, SpoolSource
from fedtrack.tracking.journal import Journal

SITES = tuple(f"site-{number}" for number in range(4))
AWAY_SECONDS = 60.0 if os.environ.get("FEDTRACK_SOAK") == "1" else 4.0
PER_SECOND = 1_000

WRITER = """
import json, sys
from pathlib import Path
from time import monotonic, perf_counter_ns, sleep
from fedtrack.tracking.spool import Spool
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


def start_writers(root: Path, seconds: float) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root / site), str(seconds), str(PER_SECOND)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for site in SITES
    ]


def times_of(writers: list[subprocess.Popen[str]]) -> list[list[int]]:
    outputs = [writer.communicate(timeout=600)[0] for writer in writers]
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
        self.delivery = Delivery("memory", MemoryReceiver(), self.journal, run)
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
        self.journal.close()
        return report.delivered


@pytest.mark.timeout(900)
def test_absence_of_the_server_is_not_noticed_and_made_up_for(tmp_path: Path) -> None:
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
    assert server.stop() == logged
    assert server.journal.path.exists()

    calls = [sorted(time for times in side for time in times) for side in (healthy, away)]
    p999 = [side[int(len(side) * 0.999)] / 1000 for side in calls]
    print(
        f"away {AWAY_SECONDS:.0f} s: {logged:,} events caught up in {caught_up:.1f} s; "
        f"log call p50 {median(calls[0]) / 1000:.1f} and {median(calls[1]) / 1000:.1f} µs, "
        f"p99.9 {p999[0]:.0f} and {p999[1]:.0f} µs, with and without server; +{resident_mib() - before:.0f} MiB"
    )
    assert median(calls[1]) < 2 * median(calls[0])
