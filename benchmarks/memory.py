"""Watches the memory of a site, of the server and of a backlog while events pass by the million.

    python benchmarks/memory.py --events 10000000

The site and the server are processes of their own. First the server keeps up; then it starts only when everything
lies in the spool.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep

from fedtrack.testing import run_info
from fedtrack.tracking.delivery import Delivery
from fedtrack.tracking.events import Batch
from fedtrack.tracking.forwarder import Forwarder, SpoolSource
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric
from fedtrack.tracking.spool import Spool
from fedtrack.tracking.writer import Writer


class Counting(Receiver):
    """Takes everything and keeps only how much it was."""

    name = "counting"
    summary = "Counts."
    supports = frozenset({Metric})
    taken = 0

    def open(self, run: RunInfo) -> None:
        """Succeed."""

    def receive(self, batch: Batch) -> None:
        self.taken += len(batch.records)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def log(folder: Path, events: int, report: Connection) -> None:
    spool = Spool(folder / "site-1", limit_bytes=64 * 2**30)
    writer = Writer(spool)
    for step in range(events):
        writer.record_metric("train/loss", 0.5, step)
        if step % (events // 10) == events // 10 - 1:
            report.send((step + 1, resident_mib()))
    spool.close()


def serve(folder: Path, events: int, report: Connection) -> None:
    run = run_info(folder / "run", sites=["site-1"])
    journal = Journal(folder / "journal.db")
    forwarder = Forwarder()
    forwarder.add(SpoolSource("site-1", folder / "site-1", journal, run.blobs))
    receiver = Counting()
    delivery = Delivery("counting", receiver, journal, run)
    forwarder.start()
    delivery.start()
    said = 0
    while receiver.taken < events:
        sleep(0.05)
        if receiver.taken - said >= events // 10:
            said += events // 10
            report.send((said, resident_mib()))
    report.send((events, resident_mib()))
    forwarder.stop()
    delivery.drain("completed")
    delivery.finish(10.0)
    journal.close()


def start(work: Callable[[Path, int, Connection], None], folder: Path, events: int) -> tuple[int, Connection]:
    ours, theirs = Pipe()
    pid = os.fork()
    if pid == 0:
        work(folder, events, theirs)
        os._exit(0)
    theirs.close()
    return pid, ours


def collect(pid: int, report: Connection) -> dict[int, float]:
    found = {}
    try:
        while True:
            count, size = report.recv()
            found[count] = size
    except EOFError:
        os.waitpid(pid, 0)
    return found


def measure(events: int, *, backlog: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fedtrack-memory-"))
    begun = monotonic()
    site = start(log, folder, events)
    if backlog:
        site_sizes = collect(*site)
        server_sizes = collect(*start(serve, folder, events))
    else:
        server = start(serve, folder, events)
        site_sizes = collect(*site)
        server_sizes = collect(*server)
    shutil.rmtree(folder)
    print(f"{'backlog' if backlog else 'live'}: {events:,} events in {monotonic() - begun:.0f} s")
    print(f"{'events':>12} {'site MiB':>9} {'server MiB':>11}")
    for count in sorted({*site_sizes, *server_sizes}):
        sizes = (f"{found[count]:.1f}" if count in found else "" for found in (site_sizes, server_sizes))
        print("{:>12,} {:>9} {:>11}".format(count, *sizes), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    arguments = parser.parse_args()
    for backlog in (False, True):
        measure(arguments.events, backlog=backlog)


if __name__ == "__main__":
    main()
