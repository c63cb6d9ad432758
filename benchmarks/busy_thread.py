"""Busy thread: the cost of a log call while another thread computes in Python, as a thread that prepares data does.

Python divides the interpreter's lock fairly: a waiting thread gets it after ``sys.getswitchinterval()``, 5 ms. A log
call that releases the lock for its system call changes that. If the other thread is fast enough to take the lock, the
log call waits 5 ms. If it is too slow, its own 5 ms begin again each time, and the other thread waits. The load of the
cores decides which of them waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from time import perf_counter, perf_counter_ns

from benchmarks.log_writers import (
    FLOOR,
    NOTHING,
    OURS,
    Call,
    Opened,
    bare_write,
    fedtrack_mlflow_writer,
    fedtrack_python_writer,
    nothing,
    opened,
    torch_summary_writer,
    wandb_offline,
)
from benchmarks.table import Table, quantile, spread

title = "The log call beside a thread that computes in Python"

STEP_NS = 1_000_000

PEERS: dict[str, Opened] = {
    NOTHING: nothing,
    FLOOR: bare_write,
    OURS: fedtrack_mlflow_writer,
    "the same, not compiled": fedtrack_python_writer,
    "torch SummaryWriter.add_scalar": torch_summary_writer,
    "wandb offline run.log": wandb_offline,
}


@contextlib.contextmanager
def busy_thread() -> Iterator[list[int]]:
    """Let another thread count in the block, and yield a list whose only item is the current count."""
    stop = threading.Event()
    counted = [0]

    def count() -> None:
        while not stop.is_set():
            for _ in range(1000):
                counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    yield counted
    stop.set()
    thread.join()


def step() -> None:
    """Compute in Python for a millisecond of this thread's own processor time."""
    for _ in range(_ROUNDS):
        pass


def _rounds() -> int:
    begun = perf_counter_ns()
    for _ in range(1_000_000):
        pass
    return int(1_000_000 * STEP_NS / (perf_counter_ns() - begun))


_ROUNDS = _rounds()


def _block(call: Call, first: int, calls: int, counted: list[int]) -> tuple[list[float], float, float]:
    """Return the microseconds of each call, and the work of both threads per second: training steps, and counts."""
    times, begun, before = [], perf_counter(), counted[0]
    for number in range(first, first + calls):
        step()
        started = perf_counter_ns()
        call(number)
        times.append((perf_counter_ns() - started) / 1000)
    taken = perf_counter() - begun
    return times, calls / taken, (counted[0] - before) / taken


def run(quick: bool = True) -> list[Table]:
    """Return the table."""
    blocks, calls = (6, 200) if quick else (15, 300)
    times: dict[str, list[float]] = {name: [] for name in PEERS}
    steps: dict[str, list[float]] = {name: [] for name in PEERS}
    counts: dict[str, list[float]] = {name: [] for name in PEERS}
    with opened(PEERS) as calls_by_name:
        for call in calls_by_name.values():
            call(0)  # opens what is opened by a first call
        with busy_thread() as counted:
            for block in range(blocks):
                for name, call in calls_by_name.items():
                    found, stepped, other = _block(call, 1 + block * calls, calls, counted)
                    times[name] += found
                    steps[name].append(stepped)
                    counts[name].append(other)
    rows = []
    for name, found in times.items():
        cells = [f"{quantile(found, share):,.1f}" for share in (0.5, 0.9, 0.99)]
        mean = f"{sum(found) / len(found):,.1f}"
        progress = [
            spread([rate / floor for rate, floor in zip(rates[name], rates[NOTHING], strict=True)])
            for rates in (steps, counts)
        ]
        rows.append((name, *cells, mean, *progress))
    note = (
        "Before each call the training's thread computes in Python for a millisecond; another thread does so all the "
        "time, and both share the interpreter's lock. *Training* and *other thread*: how far each of them gets in a "
        "second, relative to a training that logs nothing, in neighbouring blocks."
    )
    columns = ("one call, µs", "p50", "p90", "p99", "mean", "training", "other thread")
    return [Table(title, columns, rows, note)]
