"""Compares a training's time and its log calls with healthy receivers and with receivers that misbehave.

    python benchmarks/outage.py

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
from statistics import median

import numpy as np

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_mlflow import MLflowReceiver
from fedtrack_tensorboard import TBAnalyticsReceiver

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


def run(folder: Path, *, outage: bool) -> tuple[float, list[int]]:
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


def main() -> None:
    logging.disable()
    from fedtrack.engines.local import launch

    launch.STALL_SECONDS = 0.5
    root = Path(tempfile.mkdtemp(prefix="fedtrack-outage-"))
    os.chdir(root)
    Path("client.py").write_text(CLIENT)
    found: dict[bool, tuple[list[float], list[int]]] = {False: ([], []), True: ([], [])}
    for repeat in range(REPEATS):
        for outage in (False, True):
            seconds, times = run(root / f"{repeat}-{outage}", outage=outage)
            found[outage][0].append(seconds)
            found[outage][1].extend(times)
    print(f"{'backends':<16} {'training s':>10} {'p50 µs':>8} {'p99.9 µs':>9}")
    for outage, (seconds, times) in found.items():
        times.sort()
        p50, p999 = (times[int(len(times) * share)] / 1000 for share in (0.5, 0.999))
        print(f"{'one is down' if outage else 'healthy':<16} {median(seconds):>10.2f} {p50:>8.1f} {p999:>9.1f}")


if __name__ == "__main__":
    main()
