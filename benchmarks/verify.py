"""Verify: the time that a count of many metric names takes in each MLflow store and in TensorBoard.

The baseline reads the history of each name, as MLflow's own client does. It is measured on some of the names, because
all of them would take minutes; the cost of a name does not depend on their number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.table import Table, seconds_text
from fedtrack import Batch, Receiver, RunInfo
from fedtrack.tracking import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack_mlflow import MLflowReceiver
from fedtrack_mlflow.settings import calm
from fedtrack_tensorboard import TBAnalyticsReceiver

title = "Counting what a backend has"

QUICK_NAMES, NAMES = 5_000, 100_000

#: How many names the baseline reads.
SAMPLE = 300

SITE, STARTED_NS = "site-1", 1_700_000_000_000_000_000


def deliver(receiver: Receiver, info: RunInfo, names: int) -> None:
    """Deliver one point of each of ``names`` metrics."""
    receiver.open(info)
    for first in range(0, names, 1000):
        numbers = range(first, min(first + 1000, names))
        records = [Metric(STARTED_NS + i, f"layer-{i}/norm", 0.5, 1) for i in numbers]
        receiver.receive(Batch(SITE, "a" * 32, numbers, records))
    receiver.flush()
    receiver.close("completed")


def count(receiver: Receiver, info: RunInfo, names: int) -> tuple[float, float]:
    """Return the seconds that a count takes, and those with the opening of the backend."""
    started = perf_counter()
    receiver.open(info)
    opened = perf_counter()
    found = receiver.count([SITE])
    ended = perf_counter()
    if found != {SITE: names}:
        raise RuntimeError(f"{receiver.name} counted {found} instead of {names}")
    return ended - opened, ended - started


def name_by_name(receiver: Any, names: int) -> float:
    """Return the seconds of a count that reads the history of each name, from a sample of the names."""
    client = receiver._session.client
    run_id = receiver._session.runs.id_of(SITE)
    started = perf_counter()
    with calm():
        for i in range(min(SAMPLE, names)):
            client.get_metric_history(run_id, f"layer-{i}/norm")
    return (perf_counter() - started) / min(SAMPLE, names) * names


def row(shown: str, receiver: Receiver, again: Receiver, names: int) -> Sequence[str]:
    """Return the row of one store: delivered with ``receiver``, counted with ``again``."""
    with tempfile.TemporaryDirectory() as folder:
        info = RunInfo("r1", "bench", Path(folder), "server", (SITE,), STARTED_NS, BlobStore(Path(folder) / "blobs"))
        deliver(receiver, info, names)
        counting, in_all = count(again, info, names)
        slow = name_by_name(again, names) if isinstance(again, MLflowReceiver) else None
        again.close("completed")
    ratio = "" if slow is None else f"{slow / counting:,.0f} x"
    return shown, seconds_text(counting), seconds_text(in_all), "" if slow is None else seconds_text(slow), ratio


def run(quick: bool = True) -> list[Table]:
    """Measure."""
    names = QUICK_NAMES if quick else NAMES
    rows = [row("MLflow, SQLite", MLflowReceiver(), MLflowReceiver(), names)]
    with tempfile.TemporaryDirectory() as files:
        rows.append(row("MLflow, files", MLflowReceiver(files), MLflowReceiver(files), min(names, 20_000)))
    rows.append(row("TensorBoard", TBAnalyticsReceiver(), TBAnalyticsReceiver(), names))
    columns = ("store", "count", "with opening", "each name by itself", "ratio")
    note = f"{names:,} names with a point each (at most 20,000 in a file store). The fourth column is from a sample."
    return [Table(title, columns, rows, note)]
