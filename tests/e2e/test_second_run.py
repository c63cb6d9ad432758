"""A second run in a workspace: what the first one has printed, and what it has left, stays as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlparse

import pytest

from fedtrack.engine import RunState
from fedtrack.runs.result import RunResult
from fedtrack.runs.run_state import view
from fedtrack.runs.stored_run import find_run
from fedtrack.runs.verify import verify
from fedtrack_mlflow import MLflowReceiver

from .conftest import make_job
from .stores import read_mlflow, read_tensorboard

pytestmark = pytest.mark.slow


def test_the_paths_that_a_run_has_printed_hold_after_the_next_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = []
    for _ in range(2):
        job = make_job("log_steps.py")
        job.to_server(MLflowReceiver(), id="mlflow")
        results.append(job.simulator_run(tmp_path))
    assert f"The earlier run in this workspace is kept in {tmp_path / 'runs' / '1'}, see: " in capfd.readouterr().err
    for result in results:
        assert RunResult.load(result.folder / "run_summary.json").run_id == result.run_id
        assert read_tensorboard(Path(result.receivers["receiver"].location))["site-1"].points == 40
        # The database of the command has this run alone, and its files are where the database says.
        database = Path(result.receivers["mlflow"].command.rpartition("sqlite:///")[2])
        assert read_mlflow(database)["site-1"].points == 40
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute("SELECT artifact_uri FROM runs").fetchall()
            (run_id,) = connection.execute("SELECT DISTINCT value FROM tags WHERE key = 'fedtrack.run_id'").fetchone()
        assert run_id == result.run_id
        assert all(Path(urlparse(uri).path).is_relative_to(result.folder) for (uri,) in rows)
        assert view(find_run(result.run)).state is RunState.COMPLETED
        assert [check.problem for check in verify(find_run(result.run)) if check.problem] == []
