"""Breakdown of the hello job: what each process does at which time, from one run.

    python -m benchmarks hello_breakdown

The server's calls are timed directly; a site's actions are known from the times of its records. Rows overlap:
the fork server imports torch while the server exports the job, and receivers open while the sites train.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.table import Table

title = "Where the hello job's seconds go"

#: Calls of the server's process: module, object, method and description.
CALLS = (
    ("fedtrack_local.processes.sites", "SitePool", "build_model", "wait for torch, then build the initial model"),
    ("fedtrack_local.launch", "", "export_job", "export the job (with the row above)"),
    ("fedtrack_local.server", "LocalServer", "initial_params", "map the initial model"),
    ("fedtrack_local.workflows.fedavg", "", "play_round", "rounds"),
    ("fedtrack_local.averaging.aggregator", "WeightedAggregator", "accept", "average"),
    ("fedtrack_local.models.model_store", "ModelStore", "save", "keep the global model, on the disk"),
    ("fedtrack_local.models.model_store", "ModelStore", "save_best", "keep the best model, on the disk"),
    ("fedtrack_local.workflows.fedavg", "FedAvg", "_evaluate", "score the last model"),
    ("fedtrack_local.server", "LocalServer", "dismiss", "wait until the scripts have ended"),
    ("fedtrack_local.processes.sites", "SitePool", "close", "end the fork server"),
    ("fedtrack.delivery.host", "ReceiverHost", "finish", "deliver the rest and close the receivers"),
    ("fedtrack_mlflow.receiver", "MLflowReceiver", "open", "MLflow: import, store, runs (own thread)"),
    ("fedtrack_mlflow.receiver", "MLflowReceiver", "receive", "MLflow: write (own thread)"),
    ("fedtrack_mlflow.receiver", "MLflowReceiver", "close", "MLflow: end the runs (own thread)"),
    ("fedtrack_tensorboard.receiver", "TBAnalyticsReceiver", "receive", "TensorBoard: write (own thread)"),
    ("fedtrack_local.course", "", "summarize", "summarise"),
)


@dataclass
class Span:
    """Begin of the first call and end of the last one, seconds since the epoch, and the sum of all durations."""

    first: float
    last: float
    total: float
    count: int = 1


def timed(function: Callable[..., Any], what: str, spans: dict[str, Span]) -> Callable[..., Any]:
    """Return ``function``, wrapped so that its calls are noted in ``spans``."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        begun = time.time()
        try:
            return function(*args, **kwargs)
        finally:
            ended = time.time()
            span = spans.setdefault(what, Span(begun, ended, 0.0, 0))
            span.last, span.total, span.count = ended, span.total + ended - begun, span.count + 1

    return call


def watched(folder: Path) -> None:
    """Run the example in this process and write the times of its calls; called in a process of its own."""
    from fedtrack.plugins import registry

    spans = {"start Python, import fedtrack": Span(float(os.environ["BEGUN"]), time.time(), 0.0)}
    for module_name, owner, name, what in CALLS:
        module = importlib.import_module(module_name)
        place = getattr(module, owner) if owner else module
        setattr(place, name, timed(getattr(place, name), what, spans))
    job = registry().example("hello-pt-mlflow").folder / "job.py"
    sys.argv, sys.path[0] = [str(job), "-w", str(folder / "ws")], str(job.parent)
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(job), run_name="__main__")
    (folder / "spans.json").write_text(json.dumps({what: vars(span) for what, span in spans.items()}))


def run(quick: bool = True) -> list[Table]:
    """Return the table, which is always that of one run."""
    with tempfile.TemporaryDirectory() as temporary:
        begun = time.time()
        code = f"from pathlib import Path; from benchmarks.hello_breakdown import watched; watched(Path({temporary!r}))"
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment = kept | {"BEGUN": repr(begun)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)
        ended = time.time()
        found = {what: Span(**span) for what, span in json.loads((Path(temporary) / "spans.json").read_text()).items()}
        found |= _sites(Path(temporary) / "ws" / "server" / "simulate_job")
    rows = [
        (what, f"{span.first - begun:.2f}", f"{span.last - begun:.2f}", f"{span.total:.2f}" if span.total else "")
        for what, span in sorted(found.items(), key=lambda item: item[1].first)
    ]
    rows.append(("the command has ended", f"{ended - begun:.2f}", "", ""))
    columns = ("hello-pt-mlflow, seconds since the command", "first", "last", "in calls")
    note = "Rows overlap: the fork server imports torch while the server exports the job, and receivers open meanwhile."
    return [Table(title, columns, rows, note)]


def _sites(folder: Path) -> dict[str, Span]:
    """Return the times of the sites' records, by round."""
    from fedtrack.journal.journal import Journal
    from fedtrack.spool import frames
    from fedtrack.tracking.records import Metric, decode

    journal = Journal(folder / "journal.db")
    times = sorted(
        record.time_ns / 1e9
        for batch in journal.read(0)
        if batch.site != "server"
        for _, payload in frames.split(batch.body)
        if isinstance(record := decode(payload), Metric) and record.key == "train_loss"
    )
    journal.close()
    return {"the sites' training steps": Span(times[0], times[-1], 0.0)}
