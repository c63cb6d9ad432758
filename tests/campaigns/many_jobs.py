"""Runs many tiny jobs in one process and prints, after each, its descriptors, threads, children and memory in MiB.

python many_jobs.py FOLDER COUNT
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from io import StringIO
from pathlib import Path

import numpy as np

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_tensorboard import TBAnalyticsReceiver

CLIENT = """
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
while flare.is_running():
    model = flare.receive()
    writer.record_metrics({f"metric-{i}": float(i) for i in range(100)}, model.current_round)
    flare.send(flare.FLModel(params=model.params))
"""


def resources() -> dict[str, float]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - of links that vanish
        "threads": threading.active_count(),
        "children": len(children),
        "memory": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    }


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    os.chdir(folder)
    Path("client.py").write_text(CLIENT)
    for _ in range(count):
        job = FedAvgJob(
            {"w": np.zeros(3, np.float32)}, n_clients=1, num_rounds=1, name="tiny", analytics_receiver=False
        )
        job.to_clients(ScriptRunner("client.py", framework="numpy"))
        job.to_server(TBAnalyticsReceiver(), id="tensorboard")
        with contextlib.redirect_stdout(StringIO()):
            result = job.simulator_run("ws")
        assert result.receivers["tensorboard"].delivered == result.sites["server"].journaled + 100
        print(json.dumps(resources()), flush=True)


if __name__ == "__main__":
    main()
