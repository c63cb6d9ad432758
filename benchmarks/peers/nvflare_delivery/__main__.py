"""Counts the events that arrive: by FLARE's own event path, by ours, and by ours with one safeguard removed at a time.

Run it in the environment that has FLARE: ``make nvflare-env``, then
``.venv-nvflare/bin/python -m benchmarks.peers.nvflare_delivery``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import numpy as np

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_nvflare import NVFlareEngine
from fedtrack_nvflare.simulator import simulator_command

ROUNDS, EVENTS, SITES = 2, 1000, ("site-1", "site-2")
SENT = ROUNDS * EVENTS * len(SITES)

#: Events that the script of our arms logs after its last task; by then FLARE's own writers are closed.
TAIL = 100

SCRIPT = """
import {client} as flare
from {tracking} import {writer} as Writer
flare.init()
writer = Writer()
while flare.is_running():
    model = flare.receive()
    for step in range({events}):
        writer.{log}("loss", 1.0 / (step + 1), model.current_round * {events} + step)
    flare.send(flare.FLModel(params=model.params, metrics={{"accuracy": 1.0}}))
for step in range({tail}):
    writer.{log}("tail", 1.0, step)
"""

STOCK_JOB = """
from arms import SlowReceiver
from nvflare.app_common.widgets.convert_to_fed_event import ConvertToFedEvent
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.fuel.utils.constants import FrameworkType
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import ScriptRunner

job = FedJob(name="stock", min_clients=2)
job.set_app_packages(["arms"])
job.to_server(FedAvg(num_clients=2, num_rounds=ROUNDS, persistor_id="", model={"w": [0.0]}, save_filename="model.bin"))
job.to_server(SlowReceiver(), id="receiver")
job.to_clients(ScriptRunner("client.py", framework=FrameworkType.RAW))
job.to_clients(ConvertToFedEvent(events_to_convert=["analytix_log_stats"]), id="event_to_fed")
job.export_job("jobs")
"""


def stock(folder: Path) -> tuple[int, str]:
    """Run FLARE's own path and return how many events its receiver has saved; it does not report missing ones."""
    names = {"client": "nvflare.client", "tracking": "nvflare.client.tracking", "writer": "SummaryWriter"}
    (folder / "client.py").write_text(SCRIPT.format(**names, log="add_scalar", events=EVENTS, tail=0))
    (folder / "job.py").write_text(STOCK_JOB.replace("ROUNDS", str(ROUNDS)))
    subprocess.run([sys.executable, "job.py"], cwd=folder, check=True, capture_output=True)
    command = simulator_command(folder / "jobs" / "stock", folder / "ws", list(SITES))
    done = subprocess.run(command, check=False, capture_output=True, timeout=300)
    arrived = (folder / "ws" / "server" / "simulate_job" / "received").read_text()
    return int(arrived), f"exit {done.returncode}"


def ours(folder: Path, collector: str, shipper: str | None = None) -> tuple[int, str]:
    """Run a job of ours and return how many of the sites' events are in its journal, and the status of the run."""
    names = {"client": "fedtrack.client", "tracking": "fedtrack.tracking.writer", "writer": "Writer"}
    (folder / "client.py").write_text(SCRIPT.format(**names, log="record_metric", events=EVENTS, tail=TAIL))
    os.chdir(folder)
    job = FedAvgJob({"w": np.zeros(1, np.float32)}, 2, ROUNDS, "ours", analytics_receiver=False)
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    engine = NVFlareEngine()
    with (
        patch("fedtrack_nvflare.export.COLLECTOR", f"arms.{collector}"),
        patch("fedtrack_nvflare.export.SHIPPER", f"arms.{shipper}" if shipper else "fedtrack_nvflare.shipper.Shipper"),
    ):
        run = engine.submit(job.export_job(folder / "jobs"), f"simulator:{folder / 'ws'}")
    complete = engine.wait(run, 300).events_complete
    sites = engine.fetch(run, folder / "results").sites
    return sum(sites[name].journaled for name in SITES), "complete" if complete else "incomplete"


ARMS = {
    "FLARE's own, 10 ms per event": stock,
    "ours, 10 ms per event": lambda folder: ours(folder, "SlowPerEvent"),
    "ours, 0.4 s per message": lambda folder: ours(folder, "SlowPerMessage"),
    "ours, 0.4 s, heeding the abort signal": lambda folder: ours(folder, "SlowPerMessage", "HeedingTheSignal"),
    "ours, 0.4 s, not waiting for goodbyes": lambda folder: ours(folder, "NotWaiting"),
}


def main() -> None:
    """Run every arm and print a table."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    print("| arm | sent | arrived | lost | it says | seconds |\n|---|---|---|---|---|---|")
    for name, run in ARMS.items():
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            arrived, verdict = run(Path(folder))
            os.chdir("/")
            seconds = perf_counter() - started
            sent = SENT if run is stock else SENT + TAIL * len(SITES)
            print(f"| {name} | {sent} | {arrived} | {sent - arrived} | {verdict} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
