"""Trains one network at several sites and shows every step of it in MLflow, and in TensorBoard."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_examples import options
from fedtrack_examples.data_choice import DataChoice
from fedtrack_mlflow import MLflowReceiver

TrackingUri = Annotated[
    str | None,
    typer.Option("--tracking-uri", "--tracking_uri", "-t", help="MLflow server; by default SQLite in the workspace."),
]


def main(
    n_clients: options.Clients = 2,
    num_rounds: options.Rounds = 5,
    workspace: options.Workspace = options.WORKSPACE,
    tracking_uri: TrackingUri = None,
    export_config: options.ExportConfig = False,
    job_root: options.JobRoot = options.JOB_ROOT,
    dataset: options.Dataset = "digits",
    data_dir: options.DataDir = None,
    partition: options.Partition = "iid",
    alpha: options.Alpha = 0.5,
    seed: options.Seed = 0,
) -> None:
    """Run federated averaging on this machine, tracked with MLflow."""
    data = DataChoice(dataset, data_dir, partition, alpha, seed, n_clients)
    job = FedAvgJob(
        name="fedavg",
        n_clients=n_clients,
        num_rounds=num_rounds,
        # A name, not an object: torch is imported where it is needed, never here or in the server.
        initial_model=data.model("model.py:SimpleNetwork"),
        evaluate_final_model=True,
    )
    job.to_clients(ScriptRunner(script="client.py", script_args=data.script_args()))
    job.to_server(
        MLflowReceiver(
            tracking_uri=tracking_uri,
            kw_args={
                "experiment_name": "fedtrack-fedavg-experiment",
                "run_name": "fedtrack-fedavg-with-mlflow",
                "experiment_tags": {"mlflow.note.content": "## **Federated averaging, tracked by fedtrack**"},
                "run_tags": {"mlflow.note.content": "## Every site's metrics, written by the server\n"},
            },
            artifact_location="artifacts",
        )
    )
    if export_config:
        print(f"Exporting job config... {job.export_job(job_root)}")
    else:
        sys.exit(job.simulator_run(workspace).exit_code)


if __name__ == "__main__":
    options.run(main)
