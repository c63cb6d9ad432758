"""Trains one network at several sites; then every site scores every site's best model on its own images."""

from __future__ import annotations

import sys

from fedtrack.job import CrossSiteEval, FedAvgJob, ScriptRunner
from fedtrack_examples import options
from fedtrack_examples.data_choice import DataChoice


def main(
    n_clients: options.Clients = 3,
    num_rounds: options.Rounds = 5,
    workspace: options.Workspace = options.WORKSPACE,
    export_config: options.ExportConfig = False,
    job_root: options.JobRoot = options.JOB_ROOT,
    dataset: options.Dataset = "digits",
    data_dir: options.DataDir = None,
    partition: options.Partition = "dirichlet",
    alpha: options.Alpha = 0.5,
    seed: options.Seed = 0,
) -> None:
    """Run federated averaging on this machine, then cross-site evaluation."""
    data = DataChoice(dataset, data_dir, partition, alpha, seed, n_clients)
    job = FedAvgJob(
        name="cross-val",
        n_clients=n_clients,
        num_rounds=num_rounds,
        initial_model=data.model("model.py:SimpleNetwork"),
    )
    job.to_clients(ScriptRunner(script="client.py", script_args=data.script_args()))
    # Workflows run in the order in which they were placed; FedAvgJob has already placed the first one.
    job.to_server(CrossSiteEval())
    if export_config:
        print(f"Exporting job config... {job.export_job(job_root)}")
    else:
        sys.exit(job.simulator_run(workspace).exit_code)


if __name__ == "__main__":
    options.run(main)
