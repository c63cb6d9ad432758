"""The cost of one log call in a training loop, compared with the alternatives."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter_ns, sleep

from benchmarks.log_writers import (
    ASYNC,
    BATCH,
    FLOOR,
    NOTHING,
    OURS,
    POLICY,
    SLOW,
    VALUES,
    WITHOUT,
    Call,
    Opened,
    bare_write,
    fedtrack_batch,
    fedtrack_mlflow_writer,
    fedtrack_python_writer,
    fedtrack_summary_writer,
    fedtrack_wandb_writer,
    fedtrack_with_policy,
    mlflow_batch,
    mlflow_sqlite,
    nothing,
    opened,
    torch_summary_writer,
    wandb_offline,
)
from benchmarks.table import Table, quantile

title = "The log call"

BLOCKS, CALLS = 10, 500


@contextlib.contextmanager
def fedtrack_served(folder: Path, *, backend_up: bool) -> Iterator[Call]:
    """A site with a running server, which has TensorBoard and an MLflow store or an MLflow server that is down."""
    name = f"served-{backend_up}"
    (folder / name).mkdir()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with fedtrack_mlflow_writer(folder / name) as call:
        server = context.Process(target=_serve, args=(folder / name, backend_up, theirs))
        server.start()
        call(-1)  # the server is ready when it has delivered the first record
        ours.recv()
        yield call
        ours.close()
        server.terminate()
        server.join()


def _serve(folder: Path, backend_up: bool, parent: Connection) -> None:
    from fedtrack.delivery.host import ReceiverHost
    from fedtrack.testing import run_info
    from fedtrack.transport.spool_source import SpoolSource
    from fedtrack_mlflow import MLflowReceiver
    from fedtrack_tensorboard import TBAnalyticsReceiver

    logging.disable()
    mlflow = MLflowReceiver() if backend_up else MLflowReceiver("http://127.0.0.1:9")
    host = ReceiverHost(run_info(folder / "run", sites=["site-1"]), {"m": mlflow, "t": TBAnalyticsReceiver()})
    host.add_source(SpoolSource("site-1", folder / "spool", host.journal, host.run.blobs))
    host.start()
    # Until both backends are imported and open, or known to be down.
    while host.ledger.cursor("t").delivered == 0 or (backend_up and host.ledger.cursor("m").delivered == 0):
        sleep(0.05)
    parent.send("ready")
    sleep(3600)


def training_step() -> Callable[[], object]:
    """Return one step of a small network on real tensors, about as long as a step of the examples."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    images, targets = torch.randn(32, 256), torch.randint(0, 10, (32,))

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.item())

    return step


PEERS: dict[str, Opened] = {
    NOTHING: nothing,
    FLOOR: bare_write,
    OURS: fedtrack_mlflow_writer,
    "fedtrack SummaryWriter.add_scalar": fedtrack_summary_writer,
    "fedtrack WandBWriter.log": fedtrack_wandb_writer,
    WITHOUT: fedtrack_python_writer,
    "torch SummaryWriter.add_scalar": torch_summary_writer,
    "wandb offline run.log": wandb_offline,
    SLOW: mlflow_sqlite,
    ASYNC: lambda folder: mlflow_sqlite(folder, synchronous=False),
}

BATCHES: dict[str, Opened] = {
    "fedtrack record_metrics": fedtrack_batch,
    "wandb offline run.log": lambda folder: wandb_offline(folder, VALUES),
    "MLflow log_batch, SQLite": mlflow_batch,
}

IN_TRAINING: dict[str, Opened] = {
    NOTHING: nothing,
    FLOOR: bare_write,
    "fedtrack, server down": fedtrack_mlflow_writer,
    "fedtrack, server and backends up": lambda folder: fedtrack_served(folder, backend_up=True),
    "fedtrack, server up, MLflow down": lambda folder: fedtrack_served(folder, backend_up=False),
    "fedtrack SummaryWriter.add_scalar": fedtrack_summary_writer,
    "fedtrack WandBWriter.log": fedtrack_wandb_writer,
    "fedtrack record_metrics, 1,000 values": fedtrack_batch,
    POLICY: fedtrack_with_policy,
    WITHOUT: fedtrack_python_writer,
    "torch SummaryWriter.add_scalar": torch_summary_writer,
    "wandb offline run.log": wandb_offline,
    SLOW: mlflow_sqlite,
    ASYNC: lambda folder: mlflow_sqlite(folder, synchronous=False),
}


def measure(
    peers: Mapping[str, Opened], blocks: int, calls: int, between: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Return the microseconds of each call, in alternating blocks."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    with opened(peers) as calls_by_name:
        for block in range(blocks):
            for name, call in calls_by_name.items():
                count = max(calls // 10, 1) if name == SLOW else calls
                for step in range(block * count, (block + 1) * count):
                    between()
                    started = perf_counter_ns()
                    call(step)
                    times[name].append((perf_counter_ns() - started) / 1000)
    return times


def _table(heading: str, what: str, times: Mapping[str, list[float]], note: str, per: int = 1) -> Table:
    reference = next(name for name in times if name.startswith("fedtrack"))
    ours = quantile(times[reference], 0.5)
    rows = []
    for name, found in times.items():
        cells = [f"{quantile(found, share) / per:,.2f}" for share in (0.25, 0.5, 0.75, 0.99, 0.999)]
        rows.append((name, *cells, f"{quantile(found, 0.5) / ours:,.1f}", f"{len(found):,}"))
    return Table(heading, (what, "p25", "p50", "p75", "p99", "p99.9", "p50, times fedtrack's", "calls"), rows, note)


def run(quick: bool = True) -> list[Table]:
    """Return the tables."""
    blocks = BLOCKS if quick else 4 * BLOCKS
    alone = measure(PEERS, blocks, CALLS)
    batch = measure(BATCHES, blocks, 2)
    training = measure(IN_TRAINING, blocks, CALLS, training_step())
    return [
        _table(
            title,
            "one call, µs",
            alone,
            "A tight loop; nobody reads the spool. The bare write has the size of a frame: the least that a call can "
            "cost whose record survives the death of its process.",
        ),
        _table("A call with 1,000 values", "µs per value", batch, "One call logs 1,000 keys of one step.", per=BATCH),
        _table(
            "The log call inside a training loop",
            "one call, µs",
            training,
            "Between two calls a small network takes a training step on real tensors; only the call is timed. *Server "
            "down* means that nobody reads the spool. *Up* is a server's process on the same cores, which forwards and "
            "delivers to MLflow (SQLite) and TensorBoard meanwhile, or to TensorBoard while MLflow's address refuses.",
        ),
    ]
