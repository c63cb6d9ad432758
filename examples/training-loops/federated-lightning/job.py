"""Two sites that train a LightningModule together."""

import sys
from pathlib import Path

from fedtrack.job import FedAvgJob, ScriptRunner

HERE = Path(__file__).parent


def main(workspace: str = "/tmp/fedtrack/lightning") -> None:  # noqa: S108
    """Run three rounds on this machine."""
    job = FedAvgJob(
        name="lightning",
        n_clients=2,
        num_rounds=3,
        initial_model=f"{HERE / 'model.py'}:Net",
        key_metric="val_accuracy",
    )
    job.to_clients(ScriptRunner(str(HERE / "client.py")))
    job.simulator_run(workspace)


if __name__ == "__main__":
    main(*sys.argv[1:])
