"""Durability: the time of a log call in each durability mode, with and without a reader of the spool.

    FEDTRACK_BENCH_FOLDER=/disk/to/measure python -m benchmarks durability

The absolute figures depend on the machine and its disk; the ratios also hold elsewhere.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from time import perf_counter_ns, sleep

from benchmarks.table import Table, quantile
from fedtrack.journal.journal import Journal
from fedtrack.spool.spool import Durability, Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.writer import Writer
from fedtrack.transport.forward_pass import ForwardPass
from fedtrack.transport.spool_source import SpoolSource

title = "The log call, by durability"


def times(folder: Path, durability: Durability, calls: int, *, read: bool) -> list[int]:
    spool = Spool(folder / "spool", durability=durability)
    writer = Writer(spool)
    journal = Journal(folder / "journal.db")
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(folder / "blobs"))
    stop = threading.Event()

    def forward() -> None:
        while not stop.is_set():
            one = ForwardPass()
            one.run([source])
            if not one.found:
                sleep(0.05)

    reader = threading.Thread(target=forward)
    if read:
        reader.start()
    taken = []
    for step in range(calls):
        begun = perf_counter_ns()
        writer.record_metric("train/loss", 0.5, step)
        taken.append(perf_counter_ns() - begun)
    stop.set()
    if read:
        reader.join()
    spool.close()
    journal.close()
    return sorted(taken)


def run(quick: bool = True) -> list[Table]:
    """Return the table."""
    many = 50_000 if quick else 200_000
    modes: tuple[tuple[Durability, int], ...] = (("process", many), ("host", many), ("disk", many // 50))
    found: dict[tuple[Durability, bool], list[float]] = {}
    for _ in range(3):
        for mode, calls in modes:
            for read in (False, True):
                with tempfile.TemporaryDirectory(dir=os.environ.get("FEDTRACK_BENCH_FOLDER")) as temporary:
                    taken = times(Path(temporary), mode, calls // 3, read=read)
                found.setdefault((mode, read), []).extend(time / 1000 for time in taken)
    base = _mean(found["process", False])
    rows = [
        (
            f"`{mode}`",
            "yes" if read else "no",
            *(f"{quantile(taken, share):,.1f}" for share in (0.5, 0.99, 0.999)),
            f"{_mean(taken) / base:,.1f}",
        )
        for (mode, read), taken in found.items()
    ]
    columns = ("`durability`", "spool is read meanwhile", "p50, µs", "p99, µs", "p99.9, µs", "mean, relative")
    return [Table(title, columns, rows, "The disk that temporary files are on.")]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
