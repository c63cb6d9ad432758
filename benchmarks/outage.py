"""Outages: a training and its log calls with an MLflow server that is up, that dies in mid-job, and that is never up.

    python -m benchmarks outage --full

These are real jobs of the local engine, in turn: up, dies, never up, up, dies, ... Each is compared with the healthy
job of its own turn, because the load of a shared machine changes from minute to minute. The training loop in the site's
process is measured: its wall time, its processor time, and each log call in it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from io import StringIO
from pathlib import Path
from statistics import median
from time import sleep
from typing import Any, NamedTuple

import numpy as np

from benchmarks.table import Table, quantile
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_local import launch
from fedtrack_mlflow import MLflowReceiver
from fedtrack_tensorboard import TBAnalyticsReceiver

title = "A backend that is down"

TURNS = 12
CONDITIONS = ("up", "dies in mid-job", "never up")
STEPS, METRICS = 1_000, 5
CLIENT = f"""
import json
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time
import numpy as np
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
work = np.random.default_rng(0).random(50_000)
while flare.is_running():
    model = flare.receive()
    calls = []
    begun, cpu = perf_counter(), process_time()
    for step in range({STEPS}):
        if step == {STEPS // 2}:
            Path("half").touch()
        for _ in range(2):
            loss = float(np.sin(work).sum())
        for metric in range({METRICS}):
            before = perf_counter_ns()
            writer.record_metric(f"loss-{{metric}}", loss, step)
            calls.append(perf_counter_ns() - before)
    found = {{"wall": perf_counter() - begun, "cpu": process_time() - cpu, "calls": calls}}
    Path("found.json").write_text(json.dumps(found))
    flare.send(flare.FLModel(params=model.params))
"""


class Training(NamedTuple):
    """One job's training loop: wall and processor time in seconds, and each log call in nanoseconds."""

    wall: float
    cpu: float
    calls: list[int]


class MLflow:
    """A real ``mlflow server``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'backend.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):  # noqa: S310
                return
            sleep(0.2)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


def train(folder: Path, condition: str, server: MLflow) -> Training:
    """Run one job and return the measurements of its site."""
    folder.mkdir()
    os.chdir(folder)
    Path("client.py").write_text(CLIENT)
    job = FedAvgJob({"w": np.zeros(3, np.float32)}, n_clients=1, num_rounds=1, name="job", analytics_receiver=False)
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    job.to_server(TBAnalyticsReceiver(), id="tensorboard")
    job.to_server(MLflowReceiver("http://127.0.0.1:9" if condition == "never up" else server.uri), id="mlflow")
    server.start()
    # The wait for a receiver at the end of a job is not part of the comparison, so it is short.
    launch.STALL_SECONDS = 60.0 if condition == "up" else 1.0
    watcher = threading.Thread(target=_kill_at_half, args=(folder, server), daemon=True)
    if condition == "dies in mid-job":
        watcher.start()
    with contextlib.redirect_stdout(StringIO()), contextlib.redirect_stderr(StringIO()):
        result = job.simulator_run("ws")
    assert result.sites["site-1"].journaled == STEPS * METRICS, "a log call was lost"
    pending = result.receivers["mlflow"].pending
    assert (pending > 0) == (condition != "up"), f"{condition}: {pending} pending"
    (found,) = folder.rglob("found.json")
    return Training(**json.loads(found.read_text()))


def _kill_at_half(folder: Path, server: MLflow) -> None:
    while not list(folder.rglob("half")):
        sleep(0.01)
    server.kill()


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return the bootstrap's 95 % confidence interval of the ratios' median."""
    source = random.Random(0)
    medians = [median(source.choices(ratios, k=len(ratios))) for _ in range(10_000)]
    return quantile(medians, 0.025), quantile(medians, 0.975)


def compared(found: list[float], healthy: list[float]) -> str:
    """Return the median of the ratios to the healthy job of the same turn, and its confidence interval."""
    ratios = [one / other for one, other in zip(found, healthy, strict=True)]
    low, high = interval(ratios)
    return f"{median(ratios):.3f} ({low:.3f} to {high:.3f})"


def rows_of(trainings: dict[str, list[Training]]) -> list[tuple[str, ...]]:
    """Return a row for each condition."""
    rows = []
    healthy = trainings["up"]
    for condition, found in trainings.items():
        walls, cpus = [t.wall for t in found], [t.cpu for t in found]
        calls = [call / 1000 for t in found for call in t.calls]
        inside = median(sum(t.calls) / 1e9 / t.wall for t in found)
        spread = f"{median(walls):.2f} ({quantile(walls, 0.25):.2f} to {quantile(walls, 0.75):.2f})"
        ratios = [compared(walls, [t.wall for t in healthy]), compared(cpus, [t.cpu for t in healthy])]
        ratios = ["1", "1"] if condition == "up" else ratios
        shares = [f"{quantile(calls, share):.1f}" for share in (0.5, 0.999)]
        rows.append((condition, spread, *ratios, f"{100 * inside:.1f} %", *shares))
    return rows


def run(quick: bool = True) -> list[Table]:
    """Return the table; a quick one has too few turns to distinguish 3 % from noise."""
    # In a process without torch: if torch is imported, a job runs in another process, where the wait cannot be set.
    command = [
        sys.executable,
        "-c",
        f"from benchmarks.outage import print_trainings; print_trainings({3 if quick else TURNS})",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, list[list[Any]]] = json.loads(done.stdout)
    trainings = {condition: [Training(*values) for values in turns] for condition, turns in found.items()}
    columns = ("MLflow server", "training, s", "x healthy, wall", "x healthy, processor", "in log calls")
    note = (
        f"{len(trainings['up'])} turns of {len(CONDITIONS)} jobs, {STEPS * METRICS:,} log calls each. Training: median "
        "and quartiles; ratios: median over the turns and its 95 % confidence interval (bootstrap)."
    )
    return [Table(title, (*columns, "log call p50, µs", "p99.9"), rows_of(trainings), note)]


def print_trainings(turns: int) -> None:
    """Train in turns and print the measurements of each job as JSON."""
    print(json.dumps(_train_in_turns(turns)))


def _train_in_turns(turns: int) -> dict[str, list[Training]]:
    trainings: dict[str, list[Training]] = {condition: [] for condition in CONDITIONS}
    before, patience = Path.cwd(), launch.STALL_SECONDS
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="fedtrack-outage-") as temporary:
        root = Path(temporary)
        server = MLflow(root)
        try:
            for number in range(turns + 1):
                # The order within a turn changes, so that the first job after a pause is not always the same.
                for condition in random.Random(number).sample(CONDITIONS, k=3):
                    found = train(root / f"{number}-{condition.replace(' ', '-')}", condition, server)
                    if number:  # the first turn imports, and creates MLflow's tables
                        trainings[condition].append(found)
        finally:
            server.kill()
            os.chdir(before)
            logging.disable(logging.NOTSET)
            launch.STALL_SECONDS = patience
    return trainings
