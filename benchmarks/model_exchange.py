"""Model exchange: the cost of sending a model to the sites, receiving and averaging theirs, and saving the result.

    python -m benchmarks model_exchange            # models of 1 kB to 1 GB
    python -m benchmarks model_exchange --full     # up to 2 GB, and more of each

The job runs in the real local engine, in processes of its own; its script sends the received model back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import numpy as np

from benchmarks.table import Table
from fedtrack.client.fl_model import ParamsType
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.runs.result import RunResult
from fedtrack_local.averaging.aggregator import WeightedAggregator

title = "Model exchange"

KB, MB, GB = 10**3, 10**6, 10**9

#: Bytes of the float32 model, and rounds per job. The first round is not counted, because the sites start in it.
QUICK = {KB: 11, MB: 11, 100 * MB: 5, GB: 3}
FULL = QUICK | {2 * GB: 3}

#: Bytes of the model, and the numbers of sites, for the measurement of the server's memory.
MEMORY_QUICK, MEMORY_FULL = 100 * MB, 500 * MB
MEMORY_SITES = (2, 4, 8)

#: Bytes of each result, for the averages that are made without a job.
AVERAGED, RESULTS, AVERAGES = 100 * MB, 4, 9

CLIENT = """
import fedtrack.client as flare

flare.init()
while flare.is_running():
    flare.send(flare.FLModel(params=flare.receive().params))
"""

#: The number of tensors, as in a network of some dozen layers.
TENSORS = 64

MODEL = f"""
import numpy as np

def build(size):
    numbers = np.random.default_rng(0)
    count = min({TENSORS}, size // 16)
    return {{f"layer-{{n}}": numbers.random(size // 4 // count, np.float32) for n in range(count)}}
"""


@dataclass(frozen=True)
class Run:
    """The measurements of a job.

    Attributes:
        seconds: Seconds of each round, without the first.
        crossed: Bytes of parameters that were sent in a round, in both directions.
        peak: The largest memory of the server's process, PSS in bytes.
    """

    seconds: list[float]
    crossed: int
    peak: int


def exchange(folder: Path, size: int, sites: int, rounds: int) -> Run:
    """Run a job that only exchanges a model of ``size`` bytes."""
    (folder / "client.py").write_text(CLIENT)
    (folder / "model.py").write_text(MODEL)
    recipe = {"path": str(folder / "model.py:build"), "args": {"size": size}}
    job = FedAvgJob(recipe, n_clients=sites, num_rounds=rounds, name="exchange", analytics_receiver=False)
    job.to_clients(ScriptRunner(str(folder / "client.py"), framework="numpy"))
    exported = job.export_job(folder / "jobs")
    workspace = folder / "ws"
    command = [sys.executable, "-m", "fedtrack", "run", str(exported), "-w", str(workspace)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = _watch(process)
    if process.returncode:
        raise SystemExit(f"The job ended with status {process.returncode}.")
    found = RunResult.load(workspace / "server" / "simulate_job" / "run_summary.json").rounds[1:]
    return Run([item.seconds for item in found], 2 * sites * size, peak)


def _watch(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process and return its largest memory, PSS in bytes."""
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, _pss(process.pid))
            sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.communicate()
    done.set()
    watcher.join()
    return peak


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def copy_seconds(size: int) -> float:
    """Return the seconds of one copy of ``size`` bytes in memory; both sides have been touched before."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    started = perf_counter()
    np.copyto(target, source)
    return perf_counter() - started


def speed(sizes: dict[int, int], repeats: int) -> Table:
    """Return the table that compares the speed of the exchange with that of copies in memory."""
    rounds: dict[int, list[float]] = {size: [] for size in sizes}
    copies: dict[int, list[float]] = {size: [] for size in sizes}
    crossed: dict[int, int] = {}
    for _ in range(repeats):
        for size, count in sizes.items():
            with tempfile.TemporaryDirectory() as folder:
                run = exchange(Path(folder), size, 2, count)
            crossed[size] = run.crossed
            rounds[size] += run.seconds
            copies[size] += [copy_seconds(size) * run.crossed / size for _ in range(3)]
    rows = [
        (
            _bytes(size),
            f"{median(found) * 1000:,.0f}",
            f"{min(found) * 1000:,.0f} to {max(found) * 1000:,.0f}",
            f"{crossed[size] / median(found) / GB:.3f}",
            f"{crossed[size] / median(copies[size]) / GB:.2f}",
            f"{median(found) / median(copies[size]):,.1f}",
        )
        for size, found in rounds.items()
    ]
    columns = ("model, 2 sites", "ms per round", "from, to", "GB/s", "copying as much in memory, GB/s", "time, ratio")
    return Table("Model exchange between server and 2 sites", columns, rows)


def memory(size: int) -> Table:
    """Return the table of the server's memory."""
    rows = []
    for sites in MEMORY_SITES:
        with tempfile.TemporaryDirectory() as folder:
            peak = exchange(Path(folder), size, sites, 3).peak
        rows.append((sites, f"{peak / MB:,.0f} MB", f"{peak / size:.2f}"))
    columns = (f"sites, a model of {_bytes(size)}", "server's peak, PSS", "times the model")
    return Table("Memory of the server that averages", columns, rows)


def average() -> Table:
    """Return the table of the averages, which another process measures, because this one never imports torch."""
    command = [sys.executable, "-c", "from benchmarks.model_exchange import time_averages; time_averages()"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    ours = median(found["WeightedAggregator"])
    rows = [
        (
            name,
            f"{median(times) * 1000:,.0f}",
            f"{min(times) * 1000:,.0f} to {max(times) * 1000:,.0f}",
            f"{median(times) / ours:.2f}",
        )
        for name, times in found.items()
    ]
    columns = (f"average of {RESULTS} results of {_bytes(AVERAGED)}", "ms", "from, to", "times fedtrack's")
    return Table("Averaging", columns, rows)


def time_averages() -> None:
    """Print as JSON how long each method takes to average the same arrays."""
    import torch

    numbers = np.random.default_rng(0)
    shape = AVERAGED // 4 // TENSORS
    results = [{f"layer-{n}": numbers.random(shape, np.float32) for n in range(TENSORS)} for _ in range(RESULTS)]
    tensors = [[torch.from_numpy(array) for array in result.values()] for result in results]
    share = 1.0 / RESULTS

    def ours() -> None:
        aggregator = WeightedAggregator(results[0])
        for number, result in enumerate(results):
            aggregator.accept(f"site-{number}", result, ParamsType.FULL, 1.0)
        aggregator.result()

    def in_place_numpy() -> None:
        total = {name: array * share for name, array in results[0].items()}
        for result in results[1:]:
            for name, array in result.items():
                total[name] += array * share

    def foreach() -> None:
        total = torch._foreach_mul(tensors[0], share)
        for result in tensors[1:]:
            torch._foreach_add_(total, result, alpha=share)

    def with_threads(count: int) -> Callable[[], None]:
        def call() -> None:
            torch.set_num_threads(count)
            foreach()

        return call

    ways = {"WeightedAggregator": ours, "numpy in place, nothing checked": in_place_numpy}
    for count in sorted({1, torch.get_num_threads()}):
        ways[f"torch._foreach_, {count} thread(s), nothing checked"] = with_threads(count)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(AVERAGES):
        for name, call in ways.items():
            started = perf_counter()
            call()
            found[name].append(perf_counter() - started)
    print(json.dumps(found))


def _bytes(size: int) -> str:
    value, unit = next(
        (size // factor, unit) for factor, unit in ((GB, "GB"), (MB, "MB"), (KB, "kB")) if size >= factor
    )
    return f"{value} {unit}"


def run(quick: bool = True) -> list[Table]:
    """Return the tables."""
    return [speed(QUICK, 2) if quick else speed(FULL, 3), memory(MEMORY_QUICK if quick else MEMORY_FULL), average()]
