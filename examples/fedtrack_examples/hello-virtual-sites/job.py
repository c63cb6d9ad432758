"""Trains one network at a hundred sites, which share one process per core of this machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fedtrack.job import ClientAppRunner, FedAvgJob
from fedtrack_examples import options


def main(
    n_clients: options.Clients = 100,
    num_rounds: options.Rounds = 10,
    fraction: Annotated[float, typer.Option(help="The share of the sites that train in a round.")] = 0.2,
    workers: Annotated[int | None, typer.Option(min=1, help="How many processes; by default one per core.")] = None,
    workspace: options.Workspace = options.WORKSPACE,
    export_config: options.ExportConfig = False,
    job_root: options.JobRoot = options.JOB_ROOT,
    partition: options.Partition = "iid",
    alpha: options.Alpha = 0.5,
    seed: options.Seed = 0,
) -> None:
    """Run federated averaging with virtual sites on this machine, tracked with TensorBoard."""
    job = FedAvgJob(
        name="fedavg-virtual-sites",
        n_clients=n_clients,
        num_rounds=num_rounds,
        fraction=fraction,
        initial_model="model.py:SimpleNetwork",
        evaluate_final_model=True,
    )
    choice = {"partition": partition, "alpha": alpha, "seed": seed}
    job.to_clients(ClientAppRunner("client.py", args=choice, workers=workers))
    if export_config:
        print(f"Exporting job config... {job.export_job(job_root)}")
    else:
        sys.exit(job.simulator_run(workspace).exit_code)


if __name__ == "__main__":
    options.run(main)
