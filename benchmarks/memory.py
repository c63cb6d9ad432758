"""The memory of a site and of the server while millions of events pass, with and without a backlog.

    python -m benchmarks memory --full

The site and the server are processes of their own. In the first case the server keeps up; in the second it starts when
all events are already in the spool.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep

from benchmarks.table import Table
from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.spool.spool import Spool
from fedtrack.testing import run_info
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric
from fedtrack.tracking.writer import Writer
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

title = "Memory"


class Counting(Receiver):
    """Accepts all records and only counts them."""

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
    ledger = Ledger(folder / LEDGER_FILE, journal)
    delivery = Delivery("counting", receiver, journal, ledger, run)
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
    ledger.close()
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


def measure(events: int, *, backlog: bool) -> tuple[dict[int, float], dict[int, float]]:
    """Return the MiB of the site and of the server after each number of events."""
    with tempfile.TemporaryDirectory(prefix="fedtrack-memory-") as temporary:
        folder = Path(temporary)
        site = start(log, folder, events)
        if backlog:
            sizes = collect(*site)
            return sizes, collect(*start(serve, folder, events))
        server = start(serve, folder, events)
        return collect(*site), collect(*server)


def run(quick: bool = True) -> list[Table]:
    """Return a table for a server that keeps up, and one for a server that starts when everything is in the spool."""
    events = 1_000_000 if quick else 10_000_000
    tables = []
    for backlog, heading in ((False, "Memory while events pass"), (True, "Memory with a backlog")):
        site, server = measure(events, backlog=backlog)
        rows = [
            (f"{count:,}", *(f"{sizes[count]:.1f}" if count in sizes else "" for sizes in (site, server)))
            for count in sorted({*site, *server})
        ]
        tables.append(Table(heading, ("events", "site, MiB", "server, MiB"), rows, "Resident set of each process."))
    return tables
