"""Events per second: from sites into the journal, and from the journal into each backend."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, time_ns

from benchmarks.table import table
from fedtrack import Batch, Receiver, RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.forwarder import Forwarder, SpoolSource
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.records import Metric
from fedtrack.tracking.spool import Spool

EVENTS = 200_000
BACKEND_EVENTS = 10_000


def _log(folder: Path, count: int) -> None:
    spool = Spool(folder)
    for step in range(count):
        spool.append(Metric(time_ns(), "train_loss", 0.5, step))
    spool.close()


def into_journal(sites: int) -> tuple[float, int]:
    """Return events per second from ``sites`` processes, and how many did not arrive."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        journal = Journal(root / "journal.db")
        forwarder = Forwarder()
        folders = {f"site-{n}": root / f"site-{n}" for n in range(1, sites + 1)}
        for name, folder in folders.items():
            forwarder.add(SpoolSource(name, folder, journal, BlobStore(root / "blobs")))
        each = EVENTS // sites
        context = multiprocessing.get_context("fork")
        writers = [context.Process(target=_log, args=(folder, each)) for folder in folders.values()]
        started = perf_counter()
        for writer in writers:
            writer.start()
        forwarder.start()
        for writer in writers:
            writer.join()
        forwarder.stop()
        seconds = perf_counter() - started
        stored = sum(journal.counts().values())
        journal.close()
    return stored / seconds, each * sites - stored


def _run_info(folder: Path) -> RunInfo:
    return RunInfo("bench", "bench", folder, "server", ("site-1",), time_ns(), BlobStore(folder / "blobs"))


def _batches(first: int, count: int, size: int = 1000) -> Iterator[Batch]:
    for start in range(first, first + count, size):
        seqs = range(start + 1, start + size + 1)
        yield Batch("site-1", "a" * 32, seqs, [Metric(time_ns(), "train_loss", 0.5, seq) for seq in seqs])


def _deliver(receiver: Receiver, first: int, count: int) -> float:
    started = perf_counter()
    for batch in _batches(first, count):
        receiver.receive(batch)
        receiver.flush()
    return count / (perf_counter() - started)


def into_mlflow() -> tuple[float, float]:
    """Return events per second through the receiver, and by log_batch in a tight loop on the same kind of store."""
    from mlflow.entities import Metric as MlflowMetric
    from mlflow.tracking import MlflowClient

    from fedtrack_mlflow import MLflowReceiver

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as temporary:
        receiver = MLflowReceiver()
        receiver.open(_run_info(Path(temporary)))
        client = MlflowClient(f"sqlite:///{temporary}/peer.db")
        run = client.create_run(client.create_experiment("peer", temporary)).info.run_id
        for block in range(3):
            first = block * BACKEND_EVENTS
            ours.append(_deliver(receiver, first, BACKEND_EVENTS))
            started = perf_counter()
            for start in range(first, first + BACKEND_EVENTS, 1000):
                now = time_ns() // 10**6
                client.log_batch(
                    run, [MlflowMetric("train_loss", 0.5, now, step) for step in range(start, start + 1000)]
                )
            theirs.append(BACKEND_EVENTS / (perf_counter() - started))
        receiver.close("completed")
    return max(ours), max(theirs)


def into_tensorboard() -> tuple[float, float]:
    """Return events per second through the receiver, and by torch's SummaryWriter in a tight loop."""
    from torch.utils.tensorboard import SummaryWriter

    from fedtrack_tensorboard import TBAnalyticsReceiver

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as temporary:
        receiver = TBAnalyticsReceiver()
        receiver.open(_run_info(Path(temporary)))
        writer = SummaryWriter(f"{temporary}/peer")
        for block in range(3):
            first = block * BACKEND_EVENTS
            ours.append(_deliver(receiver, first, BACKEND_EVENTS))
            started = perf_counter()
            for step in range(first, first + BACKEND_EVENTS):
                writer.add_scalar("train_loss", 0.5, step)
            writer.flush()
            theirs.append(BACKEND_EVENTS / (perf_counter() - started))
        with contextlib.suppress(Exception):
            writer.close()
        receiver.close("completed")
    return max(ours), max(theirs)


def run() -> str:
    """Return the table."""
    rows: list[tuple[object, ...]] = []
    for sites in (1, 2, 8):
        speed, lost = into_journal(sites)
        rows.append((f"{sites} site(s) into the journal, {lost} lost", f"{speed:,.0f}", "", ""))
    for name, measure in (
        ("journal into MLflow (SQLite), beside log_batch(1000)", into_mlflow),
        ("journal into TensorBoard, beside torch's SummaryWriter", into_tensorboard),
    ):
        ours, theirs = measure()
        rows.append((name, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}"))
    return table(("events per second", "fedtrack", "peer", "ratio"), rows)
