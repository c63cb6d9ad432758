"""A backend that is never up, with the default waiting times: the run ends, and can be delivered later."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack_mlflow import MLflowReceiver

from .conftest import make_job
from .stores import read_mlflow

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a port at which nobody listens, and nobody else can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_a_run_whose_backend_refuses_every_attempt_ends_and_is_delivered_later(tmp_path: Path, nobody: str) -> None:
    """Retries come sooner than the patience ends: one that counted as progress would go on for ever."""
    job = make_job("log_mlflow.py")
    job.to_server(MLflowReceiver(nobody), id="mlflow")
    result = job.simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    assert result.events_complete
    everything = sum(site.journaled for site in result.sites.values())
    report = result.receivers["mlflow"]
    assert (report.delivered, report.pending) == (0, everything)
    assert "Connection refused" in report.error
    assert result.receivers["receiver"].pending == 0  # TensorBoard had all that it could hold

    store = tmp_path / "later.db"
    command = [sys.executable, "-m", "fedtrack", "runs", "replay", str(tmp_path / "ws"), "--receiver", "mlflow"]
    arguments = ["--args", f'{{"tracking_uri": "sqlite:///{store}"}}']
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    stored = read_mlflow(store, "e2e")
    assert {"site-1", "site-2"} <= set(stored)
    assert sum(len(points) for points in stored["site-1"].metrics.values()) > 0
