"""Compares a training's time and its log calls with healthy receivers and with receivers that misbehave.

    python -m benchmarks outage

The same job runs with TensorBoard alone, and with an MLflow receiver beside it whose server is not there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from io import StringIO
from pathlib import Path

import numpy as np

from benchmarks.table import Table, quantile, spread
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_mlflow import MLflowReceiver
from fedtrack_tensorboard import TBAnalyticsReceiver

title = "A backend that is down"

REPEATS = 5
CLIENT = """
import json
from pathlib import Path
from time import perf_counter_ns
import numpy as np
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
a = np.random.default_rng(0).random((300, 300))
while flare.is_running():
    model = flare.receive()
    taken = []
    for step in range(1000):
        a = a @ a
        a /= a.max()
        begun = perf_counter_ns()
        writer.record_metric("loss", float(a[0, 0]), model.current_round * 1000 + step)
        taken.append(perf_counter_ns() - begun)
    Path(f"times-{model.current_round}.json").write_text(json.dumps(taken))
    flare.send(flare.FLModel(params=model.params))
"""


def run_job(folder: Path, *, outage: bool) -> tuple[float, list[int]]:
    """Return the seconds of training, and what each log call took in nanoseconds."""
    job = FedAvgJob({"w": np.zeros(3, np.float32)}, n_clients=1, num_rounds=3, name="job", analytics_receiver=False)
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    job.to_server(TBAnalyticsReceiver(), id="tensorboard")
    if outage:
        job.to_server(MLflowReceiver("http://127.0.0.1:9"), id="mlflow")
    with contextlib.redirect_stdout(StringIO()), contextlib.redirect_stderr(StringIO()):
        result = job.simulator_run(folder)
    times = [time for path in folder.glob("job/**/times-*.json") for time in json.loads(path.read_text())]
    return sum(r.seconds for r in result.rounds), times


def run(quick: bool = True) -> list[Table]:
    """Return the table."""
    from fedtrack.engines.local import launch

    found: dict[bool, tuple[list[float], list[float]]] = {False: ([], []), True: ([], [])}
    before, patience = Path.cwd(), launch.STALL_SECONDS
    launch.STALL_SECONDS = 0.5
    logging.disable()
    try:
        with tempfile.TemporaryDirectory(prefix="fedtrack-outage-") as temporary:
            os.chdir(temporary)  # where a job's script is looked for
            Path("client.py").write_text(CLIENT)
            for repeat in range(2 if quick else REPEATS):
                for outage in (False, True):
                    seconds, times = run_job(Path(temporary) / f"{repeat}-{outage}", outage=outage)
                    found[outage][0].append(seconds)
                    found[outage][1].extend(time / 1000 for time in times)
            os.chdir(before)
    finally:
        logging.disable(logging.NOTSET)
        launch.STALL_SECONDS = patience
    rows = [
        (
            "MLflow is down" if outage else "all are up",
            spread(seconds),
            *(f"{quantile(times, share):,.1f}" for share in (0.5, 0.999)),
        )
        for outage, (seconds, times) in found.items()
    ]
    columns = ("backends", "training, s", "log call p50, µs", "p99.9, µs")
    return [Table(title, columns, rows, "1 site, 3 rounds of 1,000 steps, each logged; TensorBoard is up in both.")]
