"""What one log call costs the training loop, beside the calls people use instead."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns

from benchmarks.table import quantile, table

BLOCKS, CALLS = 10, 500

Call = Callable[[int], None]


@contextlib.contextmanager
def bare_write(folder: Path) -> Iterator[Call]:
    """The physical floor: one system call of about the size of a frame."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    data = b"x" * 54
    yield lambda step: _ignore(os.write(descriptor, data))
    os.close(descriptor)


@contextlib.contextmanager
def fedtrack_mlflow_writer(folder: Path) -> Iterator[Call]:
    from fedtrack.tracking.spool import Spool
    from fedtrack_mlflow import MLflowWriter

    spool = Spool(folder / "spool")
    writer = MLflowWriter(spool)
    yield lambda step: writer.log_metric("train_loss", 0.5, step)
    spool.close()


@contextlib.contextmanager
def fedtrack_summary_writer(folder: Path) -> Iterator[Call]:
    from fedtrack.tracking.spool import Spool
    from fedtrack_tensorboard.writer import SummaryWriter

    spool = Spool(folder / "spool-tb")
    writer = SummaryWriter(spool)
    yield lambda step: writer.add_scalar("train_loss", 0.5, step)
    spool.close()


@contextlib.contextmanager
def fedtrack_wandb_writer(folder: Path) -> Iterator[Call]:
    from fedtrack.tracking.spool import Spool
    from fedtrack_wandb.writer import WandBWriter

    spool = Spool(folder / "spool-wandb")
    writer = WandBWriter(spool)
    yield lambda step: writer.log({"train_loss": 0.5}, step)
    spool.close()


@contextlib.contextmanager
def torch_summary_writer(folder: Path) -> Iterator[Call]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tb"))
    yield lambda step: writer.add_scalar("train_loss", 0.5, step)
    writer.close()


@contextlib.contextmanager
def wandb_offline(folder: Path) -> Iterator[Call]:
    import wandb

    run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True, console="off"))
    yield lambda step: run.log({"train_loss": 0.5}, step=step)
    run.finish()
    wandb.teardown()


@contextlib.contextmanager
def mlflow_sqlite(folder: Path, *, synchronous: bool = True) -> Iterator[Call]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / f'mlflow-{synchronous}.db'}")
    run = client.create_run(client.create_experiment("bench", str(folder))).info.run_id
    operations = []

    def call(step: int) -> None:
        operations.append(client.log_metric(run, "train_loss", 0.5, step=step, synchronous=synchronous))

    yield call
    for operation in operations:
        if operation is not None:
            operation.wait()


def _ignore(result: object) -> None:
    """Drop a call's result, as a training loop does."""


PEERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Call]]] = {
    "one bare write of 54 bytes": bare_write,
    "fedtrack MLflowWriter.log_metric": fedtrack_mlflow_writer,
    "fedtrack SummaryWriter.add_scalar": fedtrack_summary_writer,
    "fedtrack WandBWriter.log": fedtrack_wandb_writer,
    "torch SummaryWriter.add_scalar": torch_summary_writer,
    "wandb offline run.log": wandb_offline,
    "MLflow log_metric, SQLite": mlflow_sqlite,
    "MLflow log_metric, SQLite, asynchronous": lambda folder: mlflow_sqlite(folder, synchronous=False),
}

OURS = "fedtrack MLflowWriter.log_metric"


def run() -> str:
    """Return the table."""
    times: dict[str, list[float]] = {name: [] for name in PEERS}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        calls = {name: stack.enter_context(peer(Path(temporary))) for name, peer in PEERS.items()}
        for block in range(BLOCKS):
            for name, call in calls.items():
                count = 50 if name == "MLflow log_metric, SQLite" else CALLS
                for step in range(block * count, (block + 1) * count):
                    started = perf_counter_ns()
                    call(step)
                    times[name].append((perf_counter_ns() - started) / 1000)
    ours = quantile(times[OURS], 0.5)
    rows = [
        (
            name,
            *(f"{quantile(found, share):,.1f}" for share in (0.5, 0.99, 0.999)),
            f"{quantile(found, 0.5) / ours:,.1f}",
        )
        for name, found in times.items()
    ]
    return table(("one log call, µs", "p50", "p99", "p99.9", "p50, times fedtrack's"), rows)
