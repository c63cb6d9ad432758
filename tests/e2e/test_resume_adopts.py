"""A resumed run continues the runs that the killed server has begun in the backends, and starts no second ones."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.plugins import registry
from fedtrack.runs.result import RunResult
from fedtrack_mlflow import MLflowReceiver
from fedtrack_wandb import WandBReceiver

from .conftest import make_job
from .stores import read_mlflow, read_tensorboard, read_wandb


def rows_in(database: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
            return int(store.execute("SELECT count(*) FROM metrics").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.timeout(250)
def test_receivers_adopt_what_they_had_begun(tmp_path: Path) -> None:
    job = make_job("wait_in_round.py", str(tmp_path / "go"))
    job.to_server(MLflowReceiver(), id="mlflow")
    job.to_server(WandBReceiver(wandb_args={"project": "p"}), id="wandb")
    folder = job.export_job(tmp_path / "jobs")
    ws = tmp_path / "ws"
    server = subprocess.Popen([sys.executable, "-m", "fedtrack", "run", str(folder), "-w", str(ws)])
    database = ws / "server" / "simulate_job" / "mlflow.db"
    deadline = time.monotonic() + 120
    while rows_in(database) < 40:  # both sites' first round; the second one waits
        assert time.monotonic() < deadline
        time.sleep(0.1)
    server.send_signal(signal.SIGKILL)
    server.wait()
    (tmp_path / "go").touch()

    result: RunResult = registry().engine("local")().resume(ws)

    assert result.status == "completed"
    logged = result.sites["site-1"].journaled
    assert logged == 60  # round 0, what round 1 logged before the kill, and round 1 again
    mlflow, board, wandb = (
        read_mlflow(database),
        read_tensorboard(result.folder / "tb_events"),
        read_wandb(result.folder),
    )
    for site in ("site-1", "site-2"):
        assert mlflow[site].points == 60
        assert board[site].points == 60
        # A row that was on its way to W&B when the server was killed may be there twice, and none is missing.
        assert wandb[site].points >= 60
    with closing(sqlite3.connect(database)) as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (3,)
    assert {name: receiver.pending for name, receiver in result.receivers.items()} == dict.fromkeys(result.receivers, 0)
