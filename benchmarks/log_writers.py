"""The log calls of the comparison; each is opened in a folder of its own, and called with a step."""

from __future__ import annotations

import contextlib
import os
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import time_ns
from typing import Any

from benchmarks.python_spool import python_spool
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer, bind

#: Values in one call, for calls that take many.
BATCH = 1000
VALUES = {f"layer-{number}/grad_norm": 0.5 for number in range(BATCH)}

NOTHING = "nothing: the clock, read twice"
FLOOR = "one bare write of 54 bytes"
OURS = "fedtrack MLflowWriter.log_metric"
WITHOUT = "the first, not compiled"
POLICY = "fedtrack, with a policy of 20 rules"
#: A call takes milliseconds, so a tenth of the calls must be enough.
SLOW = "MLflow log_metric, SQLite"
ASYNC = "MLflow log_metric, SQLite, asynchronous"

Call = Callable[[int], object]
Opened = Callable[[Path], contextlib.AbstractContextManager[Call]]


@contextlib.contextmanager
def opened(peers: Mapping[str, Opened]) -> Iterator[dict[str, Call]]:
    """Open all of them and return the call of each."""
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        found: dict[str, Call] = {}
        for name, peer in peers.items():
            folder = Path(temporary) / str(len(found))
            folder.mkdir()
            found[name] = stack.enter_context(peer(folder))
        yield found


@contextlib.contextmanager
def nothing(folder: Path) -> Iterator[Call]:
    """The cost of the measurement: reading the clock twice and calling a function that does nothing."""
    yield lambda step: None


@contextlib.contextmanager
def bare_write(folder: Path) -> Iterator[Call]:
    """The lower bound: one system call that writes about as many bytes as a frame has."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    data = b"x" * 54
    yield lambda step: os.write(descriptor, data)
    os.close(descriptor)


@contextlib.contextmanager
def fedtrack_with_policy(folder: Path) -> Iterator[Call]:
    """A site whose owner lets out three digits of the loss, by the last of 20 rules."""
    from fedtrack.policy import Gate, Policy, Rule

    rules = [*(Rule(f"other-{number}/*") for number in range(19)), Rule("train_loss", clip=(0, 10), sig=3)]
    with contextlib.closing(Spool(folder / "spool", gate=Gate([Policy(allow=rules)]))) as spool:
        writer = Writer(spool)
        yield lambda step: writer.record_metric("train_loss", 0.5, step)


@contextlib.contextmanager
def fedtrack_mlflow_writer(folder: Path, kind: type[Spool] = Spool) -> Iterator[Call]:
    from fedtrack_mlflow import MLflowWriter

    with contextlib.closing(kind(folder / "spool")) as spool:
        writer = MLflowWriter(spool)
        yield lambda step: writer.log_metric("train_loss", 0.5, step)


def fedtrack_python_writer(folder: Path) -> contextlib.AbstractContextManager[Call]:
    """The same as above, but in Python alone, as without a compiler."""
    return fedtrack_mlflow_writer(folder, python_spool())


@contextlib.contextmanager
def fedtrack_summary_writer(folder: Path) -> Iterator[Call]:
    from fedtrack_tensorboard.writer import SummaryWriter

    with contextlib.closing(Spool(folder / "spool")) as spool:
        before = bind(spool)  # as in a job; torch's writer has no argument for it
        writer = SummaryWriter()
        bind(before)
        yield lambda step: writer.add_scalar("train_loss", 0.5, step)


@contextlib.contextmanager
def fedtrack_wandb_writer(folder: Path) -> Iterator[Call]:
    from fedtrack_wandb.writer import WandBWriter

    with contextlib.closing(Spool(folder / "spool")) as spool:
        writer = WandBWriter(spool)
        yield lambda step: writer.log({"train_loss": 0.5}, step)


@contextlib.contextmanager
def torch_summary_writer(folder: Path) -> Iterator[Call]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tb"))
    yield lambda step: writer.add_scalar("train_loss", 0.5, step)
    writer.close()


@contextlib.contextmanager
def wandb_offline(
    folder: Path, values: Mapping[str, float] = types.MappingProxyType({"train_loss": 0.5})
) -> Iterator[Call]:
    import wandb

    settings = wandb.Settings(silent=True, console="off")
    run = wandb.init(mode="offline", dir=folder, reinit="create_new", settings=settings)
    yield lambda step: run.log(dict(values), step=step)
    run.finish()


@contextlib.contextmanager
def mlflow_sqlite(folder: Path, *, synchronous: bool = True) -> Iterator[Call]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / f'mlflow-{synchronous}.db'}")
    run = client.create_run(client.create_experiment("bench", str(folder))).info.run_id
    operations: list[Any] = []

    def call(step: int) -> None:
        operations.append(client.log_metric(run, "train_loss", 0.5, step=step, synchronous=synchronous))

    yield call
    for operation in operations:
        if operation is not None:
            operation.wait()


@contextlib.contextmanager
def fedtrack_batch(folder: Path) -> Iterator[Call]:
    with contextlib.closing(Spool(folder / "spool")) as spool:
        writer = Writer(spool)
        yield lambda step: writer.record_metrics(VALUES, step)


@contextlib.contextmanager
def mlflow_batch(folder: Path) -> Iterator[Call]:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow-batch.db'}")
    run = client.create_run(client.create_experiment("batch", str(folder))).info.run_id

    def call(step: int) -> None:
        now = time_ns() // 10**6
        client.log_batch(run, [Metric(key, value, now, step) for key, value in VALUES.items()])

    yield call
