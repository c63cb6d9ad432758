"""A job.py that imports torch, as FLARE's do: its server runs in a process without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.runs.result import RunResult
from fedtrack_local.models.params import load_params

JOB = """
import sys
import torch
from fedtrack.errors import report_errors
from fedtrack.job import FedAvgJob, ScriptRunner

torch.manual_seed(0)
job = FedAvgJob(initial_model=torch.nn.Linear(3, 2), n_clients=2, num_rounds=2, name="torch-job")
job.to_clients(ScriptRunner("client.py"))
with report_errors():
    result = job.simulator_run(sys.argv[1])
print("STATUS", result.status, [r.metrics["accuracy"] for r in result.rounds])
"""

CLIENT = """
import torch
import fedtrack.client as flare
from fedtrack.client.tracking import SummaryWriter

flare.init()
writer = SummaryWriter()
while flare.is_running():
    model = flare.receive()
    assert all(isinstance(value, torch.Tensor) for value in model.params.values())
    FAIL
    writer.add_scalar("loss", torch.tensor(0.5), model.current_round)
    params = {name: value + 1 for name, value in model.params.items()}
    flare.send(flare.FLModel(params=params, metrics={"accuracy": torch.tensor(0.25)}))
"""


def run_job(tmp_path: Path, fail: str = "pass") -> subprocess.CompletedProcess[str]:
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "client.py").write_text(CLIENT.replace("FAIL", fail))
    command = [sys.executable, "job.py", str(tmp_path / "ws")]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.timeout(250)
def test_job_that_imports_torch(tmp_path: Path) -> None:
    done = run_job(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "STATUS completed [0.25, 0.25]" in done.stdout
    result = RunResult.load(tmp_path / "ws" / "server" / "simulate_job" / "run_summary.json")
    assert result.sites["site-1"].journaled == 2
    assert {receiver.delivered for receiver in result.receivers.values()} == {4 + result.sites["server"].journaled}
    first = load_params(tmp_path / "ws" / "job" / "torch-job" / "app_server" / "custom" / "initial_model.safetensors")
    last = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    assert (abs(last["weight"] - first["weight"] - 2) < 1e-6).all()


@pytest.mark.timeout(250)
def test_failure_is_reported_by_the_process_that_asked(tmp_path: Path) -> None:
    done = run_job(tmp_path, "raise ValueError('no data')")
    assert done.returncode == 1
    assert "ValueError: no data" in done.stderr
    assert "Traceback" not in done.stderr.split("Error: ")[-1]
