"""The hello job, or a thousand virtual sites, on fedtrack's local engine, tracked or not."""

from __future__ import annotations

import argparse
from pathlib import Path

from fedtrack.job import ClientAppRunner, FedAvgJob, ScriptRunner

CLIENT = """
import sys
import torch
import fedtrack.client as flare
from fedtrack.client.tracking import MLflowWriter, SummaryWriter
from hello_training import LocalSite

flare.init()
log = {"mlflow": lambda: MLflowWriter().log_metric, "tensorboard": lambda: SummaryWriter().add_scalar}
log = log[sys.argv[1]]() if sys.argv[1] in log else None
site = LocalSite(flare.get_site_name())
while flare.is_running():
    received = flare.receive()
    site.net.load_state_dict(received.params)
    steps, accuracy = site.play(received.current_round, log)
    meta = {"NUM_STEPS_CURRENT_ROUND": steps}
    flare.send(flare.FLModel(params=site.net.state_dict(), metrics={"accuracy": accuracy}, meta=meta))
"""

FUNCTIONS = """
from functools import cache
from fedtrack.client import ClientApp, FLModel
from fedtrack.client.tracking import SummaryWriter
from hello_training import VirtualSites

app = ClientApp()
sites = cache(VirtualSites)

@app.train
def train(model, site):
    work = sites()
    work.net.load_state_dict(model.params)
    SummaryWriter().add_scalar("images", work.step(site.index), model.current_round)
    return FLModel(params=work.net.state_dict())
"""

MODEL = """
from hello_training import network
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to work")
    parser.add_argument("--tracking", choices=("none", "tensorboard", "mlflow"), default="mlflow")
    parser.add_argument("--virtual", action="store_true", help="the thousand virtual sites")
    args = parser.parse_args()
    (args.folder / "client.py").write_text(FUNCTIONS if args.virtual else CLIENT)
    (args.folder / "model.py").write_text(MODEL)
    model = str(args.folder / "model.py:network")
    sites, rounds = (1000, 3) if args.virtual else (2, 5)
    job = FedAvgJob(model, n_clients=sites, num_rounds=rounds, name="hello", analytics_receiver=False)
    script = str(args.folder / "client.py")
    job.to_clients(ClientAppRunner(script) if args.virtual else ScriptRunner(script, script_args=args.tracking))
    if args.tracking == "mlflow":
        from fedtrack_mlflow import MLflowReceiver

        job.to_server(MLflowReceiver(), id="mlflow")
    elif args.tracking == "tensorboard":
        from fedtrack_tensorboard import TBAnalyticsReceiver

        job.to_server(TBAnalyticsReceiver(), id="tensorboard")
    job.simulator_run(args.folder / "ws")


if __name__ == "__main__":
    main()
