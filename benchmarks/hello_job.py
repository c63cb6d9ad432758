"""The hello job, end to end, compared with the same training in one plain PyTorch process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.table import Table, spread

title = "The hello job"

PAIRS = 3

#: The same data, network, steps and averaging as hello-pt-mlflow, without federation and without tracking.
PLAIN = """
import copy
import torch
from fedtrack_examples.data_choice import DataChoice
from fedtrack_examples.simple_network import SimpleNetwork
from fedtrack_examples.training import accuracy_of, make_repeatable
from torch import nn
from torch.utils.data import DataLoader

torch.set_num_threads(2)
data = DataChoice(n_sites=2)
parts = {site: data.load(site) for site in ("site-1", "site-2")}
model = SimpleNetwork(*data.shape()).state_dict()
for current_round in range(5):
    results = []
    for site, (train, test) in parts.items():
        net = SimpleNetwork(*data.shape())
        net.load_state_dict(copy.deepcopy(model))
        accuracy_of(net, test)
        make_repeatable(0, site, current_round)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for _ in range(4):
            for images, targets in DataLoader(train, batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(images), targets)
                loss.backward()
                optimizer.step()
                loss.item()
        results.append(net.state_dict())
    model = {name: sum(result[name] for result in results) / len(results) for name in model}
"""


def memory_of_tree(pid: int) -> int:
    """Return the proportional set size of a process and its descendants, in KiB."""
    total = 0
    for process in [pid, *_descendants(pid)]:
        try:
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += [int(child), *_descendants(int(child))]
        except OSError:
            continue
    return found


def measure(command: list[str], folder: Path | None = None) -> tuple[float, float, int]:
    """Return wall seconds, CPU seconds and the peak of the tree's memory in KiB."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, started = os.times(), perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, memory_of_tree(process.pid))
            sleep(0.25)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    wall = perf_counter() - started
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    after = os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system, peak


def run(quick: bool = True) -> list[Table]:
    """Return the table."""
    with tempfile.TemporaryDirectory() as temporary:
        fedtrack = [sys.executable, "-m", "fedtrack", "examples", "run", "hello-pt-mlflow", "--"]
        commands = {
            "plain PyTorch, one process": [sys.executable, "-c", PLAIN],
            "fedtrack, 2 sites, MLflow and TensorBoard": [*fedtrack, "--workspace", f"{temporary}/ws"],
        }
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for _ in range(PAIRS if quick else 3 * PAIRS):
            for name, command in commands.items():
                wall, cpu, peak = measure(command)
                found[name].append((wall, cpu, peak / 1024))
    plain = found["plain PyTorch, one process"]
    rows = [(name, *(_cell(runs, plain, i) for i in range(3))) for name, runs in found.items()]
    columns = ("2 sites, 5 rounds, every step logged", "wall, s", "CPU, s", "peak memory (PSS of the tree), MiB")
    note = (
        "Start and imports included. In parentheses the least and the most; behind it the ratio of neighbouring runs. "
        "The plain process uses torch's default of one thread per core; a site uses its share of the cores."
    )
    return [Table(title, columns, rows, note)]


def _cell(runs: list[tuple[float, float, float]], plain: list[tuple[float, float, float]], i: int) -> str:
    ratios = [own[i] / floor[i] for own, floor in zip(runs, plain, strict=True)]
    return f"{spread([own[i] for own in runs], '{:,.1f}'.format)}; {spread(ratios)} x"
