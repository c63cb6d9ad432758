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

from fedtrack.engine import RunState
from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.plugins import registry
from fedtrack.runs.replay import replay
from fedtrack.runs.result import RunResult
from fedtrack.runs.run_state import view
from fedtrack.runs.stored_run import find_run
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.verify import verify
from fedtrack.tracking.records import Metric, decode
from fedtrack_local.models.params import load_params
from fedtrack_tensorboard import TBAnalyticsReceiver

from .conftest import MakeJob

pytestmark = pytest.mark.slow


def points_of(result: RunResult, site: str) -> list[tuple[str, int | None]]:
    """Return key and step of every metric of a site in the journal."""
    journal = Journal(result.folder / "journal.db", read_only=True)
    batches = [batch for batch in journal.read(0, 2**40) if batch.site == site]
    journal.close()
    records = [decode(payload) for batch in batches for _, payload in batch.events()]
    return [(record.key, record.step) for record in records if isinstance(record, Metric)]


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
    shown = [point for point in points_of(result, "server") if point[0].startswith("across_sites/")]
    assert len(shown) == len(set(shown))  # no round of the view is repeated, and none is missing
    assert {step for key, step in shown if key.endswith("/mean")} == {0, 1, 2, 3}
    # Three rounds before the kill (the last one unfinished), two after it: what was logged is there, all of it.
    assert result.sites["site-1"].journaled == 5 * 50
    assert {name: site.logged for name, site in result.sites.items()} == {
        name: site.journaled for name, site in result.sites.items()
    }


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_completed_run_is_not_touched_by_a_resume(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job()
    job.to_server(TBAnalyticsReceiver())
    first = job.simulator_run(tmp_path / "ws")
    before = content(tmp_path / "ws")
    for name in ("ws", "ws/runs/1"):
        again: RunResult = registry().engine("local")().resume(tmp_path / name)
        assert (again.run_id, again.sites, again.receivers) == (first.run_id, first.sites, first.receivers)
    done = subprocess.run(
        [sys.executable, "-m", "fedtrack", "resume", str(tmp_path / "ws")], capture_output=True, text=True, check=True
    )
    assert (
        done.stderr
        == f"The run in {tmp_path / 'ws'} is completed; there is nothing to resume, and nothing was changed.\n"
    )
    assert content(tmp_path / "ws") == before


def test_the_summary_of_a_failed_attempt_says_nothing_about_the_next_one(make_job: MakeJob, tmp_path: Path) -> None:
    """The next one logs more, and is killed before it has a summary: what is counted is then what is in the files."""
    stuck = f"""
    import pathlib, time
    if model.current_round == 1 and not pathlib.Path({str(tmp_path / "again")!r}).exists():
        raise ValueError("no data")
    while model.current_round == 1:
        time.sleep(0.05)
    """
    folder, workspace = make_job(stuck, num_rounds=3).export_job(tmp_path / "jobs"), tmp_path / "ws"
    command = [sys.executable, "-m", "fedtrack"]
    failed = subprocess.run([*command, "run", str(folder), "-w", str(workspace)], capture_output=True, check=False)
    assert failed.returncode == 1
    run = find_run(workspace)
    assert [check.problem for check in verify(run) if check.problem] == []
    (tmp_path / "again").touch()
    with subprocess.Popen(
        [*command, "resume", str(workspace)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as again:
        deadline = time.monotonic() + 60
        while tally_of(run).sites["site-1"].journaled < 150 or view(run).state is not RunState.RUNNING:
            assert time.monotonic() < deadline, view(run)
            time.sleep(0.05)
        assert all(check.problem == "" for check in verify(run))
        os.kill(again.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while view(run).state is not RunState.LOST or tally_of(run).sites["site-1"].logged is None:
        assert time.monotonic() < deadline, view(run)
        time.sleep(0.05)
    replay(run)
    tally = tally_of(run)
    # Two rounds of the first attempt, and one of the second.
    assert {name: (tally.sites[name].logged, tally.sites[name].journaled) for name in ("site-1", "site-2")} == {
        "site-1": (150, 150),
        "site-2": (150, 150),
    }
    assert tally.complete
    assert [check.problem for check in verify(run) if check.problem] == []


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no run to resume"):
        registry().engine("local")().resume(tmp_path / "nowhere")
