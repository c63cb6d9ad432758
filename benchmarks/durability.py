"""Times log calls in each durability mode, with and without somebody who reads the spool.

    python benchmarks/durability.py --folder /disk/to/measure

Prints microseconds. The absolute figures are this machine's and its disk's; the ratios carry over.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from pathlib import Path
from time import perf_counter_ns, sleep

from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.forwarder import SpoolSource
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.spool import Durability, Spool
from fedtrack.tracking.writer import Writer


def times(folder: Path, durability: Durability, calls: int, *, read: bool) -> list[int]:
    spool = Spool(folder / "spool", durability=durability)
    writer = Writer(spool)
    journal = Journal(folder / "journal.db")
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(folder / "blobs"))
    stop = threading.Event()

    def forward() -> None:
        while not stop.is_set():
            if not source.forward():
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    base = times(Path(tempfile.mkdtemp(dir=arguments.folder)), "process", 200_000, read=False)
    print(f"{'mode':<8} {'read':<5} {'p50':>8} {'p99':>8} {'p99.9':>9} {'mean / process':>15}")
    modes: tuple[tuple[Durability, int], ...] = (("process", 200_000), ("host", 200_000), ("disk", 5_000))
    for mode, calls in modes:
        for read in (False, True):
            found = times(Path(tempfile.mkdtemp(dir=arguments.folder)), mode, calls, read=read)
            p50, p99, p999 = (found[int(len(found) * share)] / 1000 for share in (0.5, 0.99, 0.999))
            ratio = (sum(found) / len(found)) / (sum(base) / len(base))
            print(f"{mode:<8} {'yes' if read else 'no':<5} {p50:>8.1f} {p99:>8.1f} {p999:>9.1f} {ratio:>15.1f}")


if __name__ == "__main__":
    main()
