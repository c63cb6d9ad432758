"""Latency: the time from a log call until its point can be read from the backend's own store."""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import Any

from benchmarks.table import Table, quantile, seconds_text
from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.spool.spool import Spool
from fedtrack.testing import run_info
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.writer import Writer
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

title = "From the log call to the backend"

#: Log calls per second, and for how many seconds.
RATES = {100.0: 10.0, 1.0: 12.0}

#: Seconds between two reads of the store, which are the resolution of the result.
LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 15.0

#: Returns the new steps in the store since its last call.
Look = Callable[[], list[int]]


def _log(folder: Path, count: int, rate: float, answer: Connection) -> None:
    """Log as a training script does, and send back when each call began."""
    writer = Writer(Spool(folder))
    begun, start = [], monotonic()
    for step in range(count):
        sleep(max(0.0, start + step / rate - monotonic()))
        begun.append(time_ns())
        writer.record_metric("train_loss", 0.5, step)
    answer.send(begun)


def _tensorboard(folder: Path) -> tuple[Receiver, Look]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    from fedtrack_tensorboard import TBAnalyticsReceiver

    loaders: dict[Path, Any] = {}

    def look() -> list[int]:
        for path in folder.glob("tb_events/site-1/events.*"):
            loaders.setdefault(path, EventFileLoader(str(path)))
        return [event.step for loader in loaders.values() for event in loader.Load() if event.summary.value]

    return TBAnalyticsReceiver(), look


def _mlflow(folder: Path) -> tuple[Receiver, Look]:
    from fedtrack_mlflow import MLflowReceiver

    last = -2  # the warm-up logs step -1

    def look() -> list[int]:
        nonlocal last
        database = folder / "mlflow.db"
        if not database.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            rows = connection.execute("SELECT step FROM metrics WHERE step > ? ORDER BY step", (last,)).fetchall()
        steps = [step for (step,) in rows]
        last = max([last, *steps])
        return steps

    return MLflowReceiver(), look


def _wandb(folder: Path) -> tuple[Receiver, Look]:
    from fedtrack_wandb import WandBReceiver
    from fedtrack_wandb.names import STEP_KEY
    from fedtrack_wandb.transaction_log import TransactionLog

    logs: dict[Path, TransactionLog] = {}

    def look() -> list[int]:
        for path in folder.glob("wandb/offline-run-*/run-*.wandb"):
            logs.setdefault(path, TransactionLog(path))
        items = (item for log in logs.values() for record in log.records() for item in record.history.item)
        return [int(item.value_json) for item in items if STEP_KEY in (item.key, *item.nested_key)]

    return WandBReceiver(), look


BACKENDS: dict[str, Callable[[Path], tuple[Receiver, Look]]] = {
    "TensorBoard, event file": _tensorboard,
    "MLflow, SQLite": _mlflow,
    "W&B offline, .wandb file": _wandb,
}


@contextlib.contextmanager
def _delivering(receiver: Receiver, root: Path, sites: Path) -> Iterator[None]:
    """Forward the records of ``site-1`` to the receiver, as the server of a run does."""
    run = run_info(root, sites=["site-1"])
    journal, forwarder = Journal(root / "journal.db"), Forwarder()
    forwarder.add(SpoolSource("site-1", sites, journal, run.blobs))
    ledger = Ledger(root / LEDGER_FILE, journal)
    delivery = Delivery("receiver", receiver, journal, ledger, run)
    forwarder.start()
    delivery.start()
    try:
        yield
    finally:
        forwarder.stop()
        delivery.drain("completed")
        delivery.finish(30.0)
        ledger.close()
        journal.close()


def measure(backend: str, rate: float, seconds: float) -> list[float]:
    """Return for each log call after how many seconds its point was in the store."""
    context = multiprocessing.get_context("spawn")
    seen: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root, sites = Path(temporary) / "run", Path(temporary) / "spool"
        root.mkdir()
        receiver, look = BACKENDS[backend](root)
        with _delivering(receiver, root, sites):
            _warm_up(sites, look)
            count = int(rate * seconds)
            ours, theirs = context.Pipe()
            site = context.Process(target=_log, args=(sites, count, rate, theirs))
            site.start()
            deadline = monotonic() + seconds + PATIENCE_SECONDS
            while len(seen) < count and monotonic() < deadline:
                for step in look():
                    seen.setdefault(step, time_ns())
                sleep(LOOK_SECONDS)
            begun = ours.recv()
            site.join()
    if len(seen) < count:
        raise SystemExit(f"{backend}: {count - len(seen)} of {count} points did not arrive.")
    return [(seen[step] - begun[step]) / 1e9 for step in range(count)]


def _warm_up(sites: Path, look: Look) -> None:
    """Wait for the first point, which takes long because an SDK is imported and a database created."""
    spool = Spool(sites)
    Writer(spool).record_metric("warm_up", 0.5, -1)
    spool.close()
    deadline = monotonic() + 120
    while not look():
        if monotonic() > deadline:
            raise SystemExit("The first point did not arrive within two minutes.")
        sleep(LOOK_SECONDS)


def run(quick: bool = True) -> list[Table]:
    """Return the table."""
    rows = []
    for backend in BACKENDS:
        for rate, seconds in RATES.items():
            found = measure(backend, rate, seconds if quick else 5 * seconds)
            cells = (seconds_text(quantile(found, share)) for share in (0.5, 0.99))
            rows.append((backend, f"{rate:g} per second", *cells, seconds_text(max(found)), str(len(found))))
    note = (
        "A site's process logs; the server's process forwards and delivers; a reader looks at the store every "
        f"{LOOK_SECONDS * 1000:g} ms, in the server's process."
    )
    return [Table(title, ("backend", "log calls", "p50", "p99", "most", "points"), rows, note)]
