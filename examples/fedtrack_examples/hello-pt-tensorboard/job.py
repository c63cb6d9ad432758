"""Trains one network at several sites and shows every step of it in TensorBoard, as every job does by default."""

from __future__ import annotations

import sys

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_examples import options
from fedtrack_examples.data_choice import DataChoice


def main(
    n_clients: options.Clients = 2,
    num_rounds: options.Rounds = 5,
    workspace: options.Workspace = options.WORKSPACE,
    export_config: options.ExportConfig = False,
    job_root: options.JobRoot = options.JOB_ROOT,
    dataset: options.Dataset = "digits",
    data_dir: options.DataDir = None,
    partition: options.Partition = "iid",
    alpha: options.Alpha = 0.5,
    seed: options.Seed = 0,
) -> None:
    """Run federated averaging on this machine, tracked with TensorBoard."""
    data = DataChoice(dataset, data_dir, partition, alpha, seed, n_clients)
    job = FedAvgJob(
        name="fedavg-tensorboard",
        n_clients=n_clients,
        num_rounds=num_rounds,
        initial_model=data.model("model.py:SimpleNetwork"),
        evaluate_final_model=True,
    )
    job.to_clients(ScriptRunner(script="client.py", script_args=data.script_args()))
    if export_config:
        print(f"Exporting job config... {job.export_job(job_root)}")
    else:
        sys.exit(job.simulator_run(workspace).exit_code)


if __name__ == "__main__":
    options.run(main)
