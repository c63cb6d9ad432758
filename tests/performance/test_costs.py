"""The costs behind the promise of speed, counted and not timed: system calls, allocations, bytes, commits, imports.

Each bound is a little above the measured count. Before you raise a bound, find out why the count has grown.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time_ns
from typing import Any

import numpy as np
import pytest

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.journal.journal import Journal
from fedtrack.spool.base import PythonSpoolBase, SpoolBase
from fedtrack.spool.spool import Spool
from fedtrack.testing import run_info
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric
from fedtrack.tracking.writer import Writer, bind
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource
from fedtrack_mlflow import MLflowWriter
from fedtrack_tensorboard.writer import SummaryWriter
from fedtrack_wandb.writer import WandBWriter
from support.forwarding import forward as forward_once

KEY = "train_loss"
CALLS = 1_000
IO = Path("/proc/self/io")

Call = Callable[[int], object]


def calls_of(folder: Path) -> dict[str, Call]:
    """Return one log call of each dialect."""
    tensorboard, mlflow, wandb = (
        _bound(kind, folder / kind.name) for kind in (SummaryWriter, MLflowWriter, WandBWriter)
    )
    return {
        "SummaryWriter": lambda step: tensorboard.add_scalar(KEY, 0.5, step),
        "MLflowWriter": lambda step: mlflow.log_metric(KEY, 0.5, step),
        "WandBWriter": lambda step: wandb.log({KEY: 0.5}, step),
    }


def _bound(kind: type[Writer], folder: Path) -> Any:
    """Return a writer whose records go to a spool, as in a job; torch's writer has no argument for it."""
    before = bind(Spool(folder))
    try:
        return kind()
    finally:
        bind(before)


@pytest.fixture(params=["SummaryWriter", "MLflowWriter", "WandBWriter"])
def call(request: pytest.FixtureRequest, tmp_path: Path) -> Call:
    found = calls_of(tmp_path)[request.param]
    found(0)  # opens the segment
    return found


def write_calls() -> int:
    """Return how many write system calls this process has made, as the kernel counts them."""
    return next(int(line.split()[1]) for line in IO.read_text().splitlines() if line.startswith("syscw"))


@pytest.mark.skipif(not IO.exists(), reason="the kernel does not count a process's writes")
def test_a_log_call_is_one_write(call: Call) -> None:
    before = write_calls()
    for step in range(CALLS):
        call(step)
    assert write_calls() - before == CALLS


@pytest.mark.skipif(not IO.exists(), reason="the kernel does not count a process's writes")
def test_a_call_with_many_values_is_one_write(tmp_path: Path) -> None:
    writer = Writer(Spool(tmp_path))
    writer.record_metric(KEY, 0.5, 0)
    before = write_calls()
    writer.record_metrics({f"layer-{number}": 0.5 for number in range(CALLS)}, 1)
    assert write_calls() - before == 1


def test_a_log_call_makes_no_other_system_call(tmp_path: Path) -> None:
    """No stat, no lock, no fsync: whatever the disk or other processes do, a call is one write."""
    calls = system_calls(tmp_path, "for step in range(1000): writer.record_metric('train_loss', 0.5, step)")
    assert {name: count for name, count in calls.items() if count >= 10} == {"write": 1000}


def test_the_count_of_system_calls_can_fail(tmp_path: Path) -> None:
    assert system_calls(tmp_path, "for _ in range(1000): os.stat('/')")["newfstatat"] >= 1000


def system_calls(folder: Path, statement: str) -> dict[str, int]:
    """Return the system calls that a new process makes in a statement, by name."""
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom fedtrack.spool.spool import Spool\n"
        "from fedtrack.tracking.writer import Writer\n"
        f"writer = Writer(Spool(Path({str(folder / 'spool')!r})))\nwriter.record_metric('train_loss', 0.5, 0)\n"
        f"os.path.exists('/begin')\n{statement}\nos.path.exists('/end')\n"
    )
    trace = folder / "trace"
    try:
        done = subprocess.run(
            ["strace", "-o", str(trace), sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if done.returncode:
        pytest.skip(f"strace does not work here: {done.stderr[-200:]}")
    names: dict[str, int] = {}
    lines = trace.read_text(errors="replace").splitlines()
    first = next(index for index, line in enumerate(lines) if '"/begin"' in line)
    last = next(index for index, line in enumerate(lines) if '"/end"' in line)
    for line in lines[first + 1 : last]:
        names[line.partition("(")[0]] = names.get(line.partition("(")[0], 0) + 1
    return names


#: Bytes that a call has in its hands at most, compiled or not.
LIMITS = {"SummaryWriter": (300, 900), "MLflowWriter": (300, 900), "WandBWriter": (200, 2_000)}


@pytest.mark.parametrize(
    ("dialect", "limit"), [(name, limits[SpoolBase is PythonSpoolBase]) for name, limits in LIMITS.items()]
)
def test_a_log_call_allocates_little_and_keeps_nothing(tmp_path: Path, dialect: str, limit: int) -> None:
    call = calls_of(tmp_path)[dialect]
    for step in range(CALLS):
        call(step)
    gc.collect()
    before = sys.getallocatedblocks()
    for step in range(CALLS):
        call(step)
    gc.collect()
    assert sys.getallocatedblocks() - before < 50
    peaks = []
    tracemalloc.start()
    try:
        for step in range(101):
            tracemalloc.reset_peak()
            held = tracemalloc.get_traced_memory()[0]
            call(step)
            peaks.append(tracemalloc.get_traced_memory()[1] - held)
    finally:
        tracemalloc.stop()
    assert sorted(peaks)[50] < limit


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def forward(folder: Path, journal: Journal, sites: int, each: int) -> int:
    """Log, bring everything into the journal, and return how many bytes the spools took."""
    forwarder = Forwarder()
    size = 0
    for number in range(sites):
        spool = Spool(folder / f"site-{number}")
        spool.extend(Metric(time_ns(), KEY, 0.5, step) for step in range(each))
        spool.close()
        size += sum(path.stat().st_size for path in spool.folder.glob("*.spool"))
        forwarder.add(SpoolSource(f"site-{number}", spool.folder, journal, BlobStore(folder / "blobs")))
    forwarder.stop()
    assert journal.counts() == {f"site-{number}": each for number in range(sites)}
    return size


def test_an_event_takes_few_bytes_in_the_spool_and_in_the_journal(tmp_path: Path, journal: Journal) -> None:
    events = 20_000
    in_spool = forward(tmp_path, journal, 1, events) / events
    journal.close()
    in_journal = journal.path.stat().st_size / events
    assert in_spool < len(KEY) + 45  # 18 of the frame, 9 each of the time and the value, up to 5 of the step
    assert in_journal < 1.1 * in_spool


@pytest.mark.parametrize(("sites", "each", "commits"), [(1, 20_000, 1), (8, 2_500, 1), (100, 200, 1), (2, 200_000, 4)])
def test_commits_depend_on_bytes_and_not_on_sites(
    tmp_path: Path, journal: Journal, sites: int, each: int, commits: int
) -> None:
    forward(tmp_path, journal, sites, each)
    assert journal.commits <= commits


def test_reading_costs_calls_per_megabyte_and_not_per_event(tmp_path: Path, journal: Journal) -> None:
    """Python's own function calls, which a profiler counts: a call per frame would double what an event costs."""
    spool = Spool(tmp_path / "site-1")
    spool.extend(Metric(time_ns(), KEY, 0.5, step) for step in range(CALLS))
    spool.close()
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(tmp_path / "blobs"))
    made = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        forward_once(source)
    finally:
        sys.setprofile(None)
    assert journal.counts() == {"site-1": CALLS}
    assert made < CALLS


def test_events_on_their_way_to_a_receiver_are_nothing_to_the_garbage_collector(
    tmp_path: Path, journal: Journal
) -> None:
    """It would look through the whole process more often, and with an SDK imported that takes a fifth of a second."""
    forward(tmp_path, journal, 1, CALLS)
    tracked: list[int] = []

    class Looking(Receiver):
        name, summary, supports = "looking", "Counts what is tracked.", frozenset({Metric})

        def open(self, run: RunInfo) -> None:
            gc.collect()
            tracked.append(len(gc.get_objects()))

        def receive(self, batch: Batch) -> None:
            assert len(batch.records) == CALLS
            tracked.append(len(gc.get_objects()))

    ledger = Ledger(tmp_path / LEDGER_FILE, journal)
    delivery = Delivery("looking", Looking(), journal, ledger, run_info(tmp_path / "run"))
    delivery.start()
    delivery.drain("completed")
    assert delivery.finish(10).delivered == CALLS
    ledger.close()
    assert tracked[1] - tracked[0] < CALLS // 4


# Modules that a command imports: about a quarter of a millisecond each.


def modules(*arguments: str) -> set[str]:
    """Return what is imported by a command that succeeds."""
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
        f"sys.argv = ['fedtrack', *{list(arguments)!r}]\nfrom fedtrack.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


#: A listing imports each plugin's module, and none of what these are for.
NEVER = {"numpy", "safetensors", "multiprocessing", "sqlite3", "asyncio", "torch", "mlflow", "wandb", "tensorboard"}


@pytest.mark.parametrize(
    ("command", "limit"), [(("--help",), 550), (("receivers", "list"), 450), (("examples", "list"), 450)]
)
def test_a_command_imports_few_modules(command: tuple[str, ...], limit: int) -> None:
    found = modules(*command)
    assert "fedtrack.cli" in found
    assert not found & NEVER
    assert len(found) < limit


def test_showing_a_job_imports_neither_a_framework_nor_an_engine(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text("")
    job = FedAvgJob({"w": np.zeros(1, np.float32)}, n_clients=2, num_rounds=1, name="shown")
    job.to_clients(ScriptRunner(str(tmp_path / "client.py"), framework="numpy"))
    job.export_job(tmp_path / "jobs")
    found = modules("job", "show", str(tmp_path / "jobs" / "shown"))
    assert not found & {"torch", "mlflow", "wandb", "tensorboard", "sqlite3"}
    assert len(found) < 900
