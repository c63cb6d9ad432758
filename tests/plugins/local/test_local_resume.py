"""An interrupted run continues after its last finished round."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.plugins import registry
from fedtrack.runs.result import RunResult
from fedtrack_local.models.params import load_params

from .conftest import MakeJob

pytestmark = pytest.mark.slow


def test_killed_server_is_resumed_after_its_last_finished_round(make_job: MakeJob, tmp_path: Path) -> None:
    marker = tmp_path / "stuck"
    stuck = f"""
    import pathlib, time
    while model.current_round == 2 and not pathlib.Path({str(tmp_path / "go")!r}).exists():
        pathlib.Path({str(marker)!r}).touch()
        time.sleep(0.05)
    """
    make_job(stuck, num_rounds=4).export_job(tmp_path / "jobs")
    command = [sys.executable, "-m", "fedtrack", "run", str(tmp_path / "jobs" / "test-job"), "-w", str(tmp_path / "ws")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    (tmp_path / "go").touch()

    result: RunResult = registry().engine("local")().resume(tmp_path / "ws")

    assert result.status == "completed"
    assert [r.current_round for r in result.rounds] == [0, 1, 2, 3]
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 3), 4.0, np.float32))
    # Three rounds before the kill (the last one unfinished), two after it: what was logged is there, all of it.
    assert result.sites["site-1"].journaled == 5 * 50
    assert {name: site.logged for name, site in result.sites.items()} == {
        name: site.journaled for name, site in result.sites.items()
    }


def test_finished_run_is_resumed_to_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    first = make_job().simulator_run(tmp_path / "ws")
    again: RunResult = registry().engine("local")().resume(tmp_path / "ws")
    assert again.run_id == first.run_id
    assert [r.current_round for r in again.rounds] == [0, 1]
    assert again.sites["site-1"].journaled == first.sites["site-1"].journaled


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no run to resume"):
        registry().engine("local")().resume(tmp_path / "nowhere")
