"""Feeds a receiver at least once, as delivery does, until it is killed; test_tb_recovery runs it."""

import random
import sys
from pathlib import Path

from fedtrack import Batch, RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, Record, Text
from fedtrack_tensorboard import TBAnalyticsReceiver

COUNT = 12_000


def record(n: int) -> Record:
    if n % 100 == 0:
        return Text(n, "text", str(n) * 2000, n)
    # One tag restarts its steps, one has none, one ascends.
    key, step = [("loss", n % 4_000), ("accuracy", None), ("step", n)][n % 3]
    return Metric(n, key, float(n), step)


def main(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    receiver = TBAnalyticsReceiver()
    receiver.open(RunInfo("run-1", "job", folder, "server", (), 1, BlobStore(folder / "blobs")))
    print("ready", flush=True)
    sites = {site: folder / f"cursor-{site}" for site in ("site-1", "site-2")}
    at = {site: int(cursor.read_text()) if cursor.exists() else 0 for site, cursor in sites.items()}
    while min(at.values()) < COUNT:
        for site, cursor in sites.items():
            seqs = range(at[site], min(at[site] + chance.randint(1, 1000), COUNT))
            receiver.receive(Batch(site, "0" * 32, seqs, [record(n) for n in seqs]))
            at[site] = seqs.stop
            if chance.random() < 0.3:  # so the next process begins some batches earlier
                receiver.flush()
                new = cursor.with_suffix(".new")
                new.write_text(str(at[site]))
                new.replace(cursor)
    receiver.close("completed")


main(Path(sys.argv[1]), int(sys.argv[2]))
