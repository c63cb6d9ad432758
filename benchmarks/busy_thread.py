"""What a log call costs where another thread of the process computes in Python, as one that prepares data does.

A call that gives the interpreter's lock away for its system call may have to wait until the other thread is made to
give it back, which takes ``sys.getswitchinterval()``, 5 ms. For the training that is time it does not have.
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
    "the same without fedtrack-speedups": fedtrack_python_writer,
    "torch SummaryWriter.add_scalar": torch_summary_writer,
    "wandb offline run.log": wandb_offline,
}


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    """Let a thread count meanwhile."""
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(1000):
                number += 1

    thread = threading.Thread(target=count)
    thread.start()
    yield
    stop.set()
    thread.join()


def step() -> None:
    """Compute in Python for a millisecond of this thread's time, however long that takes."""
    for _ in range(_ROUNDS):
        pass


def _rounds() -> int:
    begun = perf_counter_ns()
    for _ in range(1_000_000):
        pass
    return int(1_000_000 * STEP_NS / (perf_counter_ns() - begun))


_ROUNDS = _rounds()


def _block(call: Call, first: int, calls: int) -> tuple[list[float], float]:
    """Return the microseconds of each call, and how many steps and calls there were in a second."""
    times, begun = [], perf_counter()
    for number in range(first, first + calls):
        step()
        started = perf_counter_ns()
        call(number)
        times.append((perf_counter_ns() - started) / 1000)
    return times, calls / (perf_counter() - begun)


def run(quick: bool = True) -> list[Table]:
    """Return the table."""
    blocks, calls = (6, 200) if quick else (20, 300)
    times: dict[str, list[float]] = {name: [] for name in PEERS}
    rates: dict[str, list[float]] = {name: [] for name in PEERS}
    with opened(PEERS) as calls_by_name:
        for call in calls_by_name.values():
            call(0)  # opens what is opened by a first call
        with busy_thread():
            for block in range(blocks):
                for name, call in calls_by_name.items():
                    found, rate = _block(call, 1 + block * calls, calls)
                    times[name] += found
                    rates[name].append(rate)
    rows = []
    for name, found in times.items():
        cells = [f"{quantile(found, share):,.1f}" for share in (0.5, 0.9, 0.99)]
        mean = f"{sum(found) / len(found):,.1f}"
        shares = [rate / floor for rate, floor in zip(rates[name], rates[NOTHING], strict=True)]
        rows.append((name, *cells, mean, spread(shares), f"{len(found):,}"))
    note = (
        "Before each call the training's thread computes in Python for a millisecond; another thread does so all the "
        "time, and both share the interpreter's lock. *Steps per second*: how far the training gets, relative to one "
        "that logs nothing, in neighbouring blocks."
    )
    columns = ("one call, µs", "p50", "p90", "p99", "mean", "steps per second, relative", "calls")
    return [Table(title, columns, rows, note)]
