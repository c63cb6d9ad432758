"""Trains one network at several sites and writes every step of it to Weights & Biases."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from fedtrack.errors import ConfigError
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_examples import options
from fedtrack_examples.data_choice import DataChoice
from fedtrack_wandb import WandBReceiver

Mode = Annotated[
    Literal["offline", "online"],
    typer.Option("--mode", help="online uploads; offline writes files that `wandb sync` uploads later."),
]
StreamedToClients = Annotated[
    bool,
    typer.Option(
        "--streamed-to-clients/--no-streamed-to-clients",
        "--streamed_to_clients/--no-streamed_to_clients",
        help="Every site writes to W&B itself.",
    ),
]
StreamedToServer = Annotated[
    bool,
    typer.Option(
        "--streamed-to-server/--no-streamed-to-server",
        "--streamed_to_server/--no-streamed_to_server",
        help="Sites send their metrics to the server, which writes them to W&B.",
    ),
]


def main(
    n_clients: options.Clients = 2,
    num_rounds: options.Rounds = 5,
    workspace: options.Workspace = options.WORKSPACE,
    streamed_to_clients: StreamedToClients = False,
    streamed_to_server: StreamedToServer = True,
    mode: Mode = "offline",
    launch_external_process: options.ExternalProcess = False,
    export_config: options.ExportConfig = False,
    job_root: options.JobRoot = options.JOB_ROOT,
    dataset: options.Dataset = "digits",
    data_dir: options.DataDir = None,
    partition: options.Partition = "iid",
    alpha: options.Alpha = 0.5,
    seed: options.Seed = 0,
) -> None:
    """Run federated averaging on this machine, tracked with Weights & Biases."""
    if not (streamed_to_clients or streamed_to_server):
        raise ConfigError("Nothing would reach W&B; give --streamed-to-clients, --streamed-to-server or both.")
    data = DataChoice(dataset, data_dir, partition, alpha, seed, n_clients)
    job = FedAvgJob(
        name="fedavg-wandb",
        n_clients=n_clients,
        num_rounds=num_rounds,
        initial_model=data.model("model.py:SimpleNetwork"),
        evaluate_final_model=True,
        # Without it, a site's records stay at the site, and a receiver on the server would get none.
        convert_to_fed_event=streamed_to_server,
        analytics_receiver=streamed_to_server,
    )
    job.to_clients(
        ScriptRunner(
            script="client.py",
            script_args=data.script_args(),
            launch_external_process=launch_external_process,
        )
    )
    wandb_args = {
        "project": "fedtrack-hello-pt-wandb",
        "name": "fedavg",
        "notes": "Federated averaging, tracked by fedtrack.",
        "tags": [dataset, partition],
        "job_type": "train-validate",
        "config": {"dataset": dataset, "partition": partition, "sites": n_clients, "rounds": num_rounds},
    }
    if streamed_to_server:
        job.to_server(WandBReceiver(wandb_args, mode=mode))
    if streamed_to_clients:
        job.to_clients(WandBReceiver(wandb_args, mode=mode, events=["analytix_log_stats"]))
    if export_config:
        print(f"Exporting job config... {job.export_job(job_root)}")
    else:
        sys.exit(job.simulator_run(workspace).exit_code)


if __name__ == "__main__":
    options.run(main)
