"""WorkflowLog: which workflows have begun and ended, across the processes of a run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fedtrack.errors import DamagedError
from fedtrack_local.workflows.workflow_log import WorkflowLog


def test_a_workflow_begins_once_and_keeps_its_first_round(tmp_path: Path) -> None:
    log = WorkflowLog(tmp_path / "log")
    assert not log.has_any
    assert log.begin("a", 0).first_round == 0
    again = WorkflowLog(tmp_path / "log")
    assert again.has_any
    passage = again.begin("a", 2)  # two of its rounds were played before the run was resumed
    assert (passage.first_round, passage.ended) == (0, False)


def test_what_a_workflow_has_found_is_kept(tmp_path: Path) -> None:
    log = WorkflowLog(tmp_path / "log")
    log.begin("a", 3)
    log.end("a", {"loss": math.inf}, {"site-1": {"site-2": {"loss": math.nan}}})
    passage = WorkflowLog(tmp_path / "log").begin("a", 9)
    assert (passage.first_round, passage.ended, passage.final_metrics) == (3, True, {"loss": math.inf})
    assert math.isnan(passage.cross_site["site-1"]["site-2"]["loss"])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xc1")
    with pytest.raises(DamagedError, match=r"log is damaged .*; start the job again"):
        WorkflowLog(tmp_path / "log")
