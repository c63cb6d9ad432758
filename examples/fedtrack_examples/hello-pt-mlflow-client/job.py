"""Trains one network at several sites; each site writes its metrics into an MLflow of its own."""

from __future__ import annotations

import sys

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_examples import options
from fedtrack_examples.data_choice import DataChoice
from fedtrack_mlflow import MLflowReceiver


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
    """Run federated averaging on this machine, tracked with one MLflow per site."""
    data = DataChoice(dataset, data_dir, partition, alpha, seed, n_clients)
    job = FedAvgJob(
        name="fedavg-mlflow-client",
        n_clients=n_clients,
        num_rounds=num_rounds,
        initial_model=data.model("model.py:SimpleNetwork"),
        evaluate_final_model=True,
        convert_to_fed_event=False,  # a site's records never leave the site ...
        analytics_receiver=False,  # ... so a receiver on the server would get none
    )
    job.to_clients(ScriptRunner(script="client.py", script_args=data.script_args()))
    for i in range(n_clients):
        site = f"site-{i + 1}"
        receiver = MLflowReceiver(
            # Without a tracking_uri: SQLite in the site's own folder.
            kw_args={
                "experiment_name": "fedtrack-fedavg-experiment",
                "run_name": f"fedtrack-fedavg-with-mlflow-{site}",
                "experiment_tags": {"mlflow.note.content": f"## **What {site} sees of the federation**"},
            },
            artifact_location="artifacts",
            events=["analytix_log_stats"],  # as logged at this site, not as sent to the server
        )
        job.to(receiver, site)
    if export_config:
        print(f"Exporting job config... {job.export_job(job_root)}")
    else:
        sys.exit(job.simulator_run(workspace).exit_code)


if __name__ == "__main__":
    options.run(main)
