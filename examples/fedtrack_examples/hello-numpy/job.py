"""Averages a model of numpy arrays over two sites, tracked with MLflow; no framework is installed or needed."""

from __future__ import annotations

import sys
from typing import Annotated

import numpy as np
import typer

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.private_folder import state_folder
from fedtrack_mlflow import MLflowReceiver


def main(
    n_clients: Annotated[int, typer.Option("--n-clients", "-n", min=1, help="How many sites.")] = 2,
    num_rounds: Annotated[int, typer.Option("--num-rounds", "-r", min=1, help="How many rounds.")] = 5,
    workspace: Annotated[str, typer.Option("--workspace", "-w", help="The folder for all files of the run.")] = str(
        state_folder() / "jobs" / "workdir"
    ),
) -> None:
    """Fit a line to the sites' measurements, which stay at the sites."""
    line = {"slope": np.zeros(1), "intercept": np.zeros(1)}
    job = FedAvgJob(
        line, n_clients, num_rounds, "hello-numpy", key_metric="loss", key_metric_mode="min", analytics_receiver=False
    )
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    job.to_server(MLflowReceiver())
    sys.exit(job.simulator_run(workspace).exit_code)


if __name__ == "__main__":
    typer.run(main)
