"""OpenedRun: what a notebook sees of a run, also of one that goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import fedtrack.runs
from fedtrack.engine import RunState
from fedtrack.errors import ConfigError
from fedtrack.runs.workspace import RunRecord, Workspace
from support.journaled import JournaledRun


def test_a_run_is_opened_by_its_path_and_read_as_it_grows(tmp_path: Path) -> None:
    made = JournaledRun(tmp_path / "ws")
    made.log_values("a", "loss", [3.0])
    run = fedtrack.runs.open(str(tmp_path / "ws"))
    assert (run.run_id, run.job_name, run.state) == (made.run_id, "a job", RunState.COMPLETED)
    table = run.metrics()
    assert [row.value for row in table] == [3.0]
    made.log_values("a", "loss", [2.0])
    assert [row.value for row in table] == [3.0, 2.0]
    assert repr(run) == f"OpenedRun({str(tmp_path / 'ws')!r}, completed)"


def test_a_folder_without_a_run_or_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        fedtrack.runs.open(tmp_path)
    with closing(Workspace(tmp_path / "ws")) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5), [])
        with pytest.raises(ConfigError, match="has no journal"):
            fedtrack.runs.open(tmp_path / "ws")
