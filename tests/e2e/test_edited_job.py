"""An exported job, edited as FLARE's page says, and run from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedtrack.runs.result import RunResult

from .conftest import make_job
from .stores import read_tensorboard

#: FLARE's class paths and arguments, as its hello-pt-mlflow page prints them; only the folder is the test's.
FLARE_JSON = """
[
    {
        "id": "receiver",
        "path": "nvflare.app_opt.tracking.tb.tb_receiver.TBAnalyticsReceiver",
        "args": {"events": ["analytix_log_stats", "fed.analytix_log_stats"]}
    },
    {
        "id": "component",
        "path": "nvflare.app_opt.tracking.mlflow.mlflow_receiver.MLflowReceiver",
        "args": {
            "tracking_uri": "file://FOLDER/mlruns",
            "kw_args": {
                "experiment_name": "nvflare-fedavg-experiment",
                "run_name": "nvflare-fedavg-with-mlflow",
                "experiment_tags": {"mlflow.note.content": "## **NVFlare FedAvg experiment with MLflow**"},
                "run_tags": {"mlflow.note.content": "## Federated Experiment tracking with MLflow.\\n"}
            },
            "artifact_location": "artifacts",
            "events": ["fed.analytix_log_stats"]
        }
    }
]
"""


def run_exported(tmp_path: Path, receivers: list[Any]) -> tuple[RunResult, str]:
    folder = make_job("log_steps.py").export_job(tmp_path / "jobs")
    path = folder / "app_server" / "config" / "config_fed_server.json"
    config = json.loads(path.read_text())
    config["components"] = [item for item in config["components"] if item["id"] != "receiver"] + receivers
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "fedtrack", "run", str(folder), "-w", str(tmp_path / "ws")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    summary = tmp_path / "ws" / "server" / "simulate_job" / "run_summary.json"
    return RunResult.load(summary), done.stderr


def test_without_the_receiver_component_there_is_no_tensorboard(tmp_path: Path) -> None:
    result, _ = run_exported(tmp_path, [])
    assert result.receivers == {}
    assert not (result.folder / "tb_events").exists()
    assert result.sites["site-1"].journaled == 40


@pytest.mark.timeout(250)
def test_receivers_pasted_from_flare_run_unchanged(tmp_path: Path) -> None:
    result, messages = run_exported(tmp_path, json.loads(FLARE_JSON.replace("FOLDER", str(tmp_path))))
    total = sum(site.journaled for site in result.sites.values())
    assert {name: receiver.delivered for name, receiver in result.receivers.items()} == {
        "receiver": total,
        "component": total,
    }
    assert messages.count("deprecated") == 1
    assert read_tensorboard(result.folder / "tb_events")["site-1"].points == 40
    points = list((tmp_path / "mlruns").glob("*/*/metrics/loss"))
    assert [len(path.read_text().splitlines()) for path in points] == [40, 40]
