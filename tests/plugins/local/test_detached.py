"""Runs that are submitted to the local engine and found again through their handle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedtrack.engine import RunHandle, RunState
from fedtrack.errors import ConfigError, EngineTimeout, NotSupported, RunNotFound, WorkspaceError
from fedtrack_local.engine import LocalEngine

from .conftest import MakeJob

pytestmark = pytest.mark.slow

SLEEP = "import time; time.sleep(600)"


def fedtrack(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fedtrack", *arguments], capture_output=True, text=True, check=False)


def wait_for(engine: LocalEngine, run: RunHandle, state: RunState) -> None:
    deadline = time.monotonic() + 60
    while engine.status(run).state is not state:
        assert time.monotonic() < deadline, engine.status(run)
        time.sleep(0.05)


def test_another_process_waits_and_fetches(make_job: MakeJob, tmp_path: Path) -> None:
    folder = make_job().export_job(tmp_path / "jobs")
    started = fedtrack("submit", str(folder), "--target", str(tmp_path / "ws"), "-w", str(tmp_path / "mine"))
    assert started.returncode == 0, started.stderr
    assert RunHandle.from_json(started.stdout) == RunHandle.from_json((tmp_path / "mine" / "handle.json").read_text())
    waited = fedtrack("runs", "wait", started.stdout, "--json")
    assert json.loads(waited.stdout) == {"state": "completed", "detail": "", "events_complete": True, "unserved": []}
    fetched = fedtrack("runs", "fetch", str(tmp_path / "mine"), "-w", str(tmp_path / "mine"))
    assert fetched.returncode == 0, fetched.stderr
    shown = fedtrack("runs", "show", str(tmp_path / "mine"))
    assert ["site-1", "100", "0", "100"] in [line.split() for line in shown.stdout.splitlines()]
    assert shown.stdout.endswith("events: complete\n")


def test_a_run_at_a_target_ends_with_its_results_in_the_workspace(make_job: MakeJob, tmp_path: Path) -> None:
    folder = make_job().export_job(tmp_path / "jobs")
    command = ("run", str(folder), "--target", str(tmp_path / "ws"), "--run-id", "mine", "-w")
    done = fedtrack(*command, str(tmp_path / "mine"))
    assert done.stdout.splitlines()[0] == "completed"
    assert done.stdout.splitlines()[-1].endswith("(all events arrived)")
    assert fedtrack("runs", "show", str(tmp_path / "mine")).stdout.endswith("events: complete\n")
    again = fedtrack(*command, str(tmp_path / "ws"))  # the run is known, and its results are there
    assert again.returncode == 0, again.stderr


def test_nothing_can_be_drained(tmp_path: Path) -> None:
    with pytest.raises(NotSupported, match=r"fedtrack resume|fedtrack runs replay"):
        LocalEngine().drain(RunHandle("local", str(tmp_path), "nobody", ""))


def test_submitting_a_run_again_finds_it(make_job: MakeJob, tmp_path: Path) -> None:
    engine, folder = LocalEngine(), make_job().export_job(tmp_path / "jobs")
    run = engine.submit(folder, str(tmp_path / "ws"), "my-run")
    assert engine.submit(folder, str(tmp_path / "ws"), "my-run") == run
    assert engine.wait(run, 60).state is RunState.COMPLETED
    assert engine.submit(folder, str(tmp_path / "ws"), "my-run") == run
    second = engine.submit(folder, str(tmp_path / "ws"))
    assert engine.wait(second, 60).state is RunState.COMPLETED
    assert engine.status(run).state is RunState.COMPLETED  # now among the earlier ones
    assert engine.fetch(run, tmp_path / "copy").run_id == "my-run"


def test_abort_delivers_what_was_logged(make_job: MakeJob, tmp_path: Path) -> None:
    engine, folder = LocalEngine(), make_job(SLEEP).export_job(tmp_path / "jobs")
    run = engine.submit(folder, str(tmp_path / "ws"))
    wait_for(engine, run, RunState.RUNNING)
    with pytest.raises(EngineTimeout, match="goes on"):
        engine.wait(run, 0.1)
    with pytest.raises(EngineTimeout, match="wait for its end"):
        engine.fetch(run, tmp_path / "copy")
    with pytest.raises(WorkspaceError, match="in use by the process"):
        engine.submit(folder, str(tmp_path / "ws"))
    assert "is in use" in engine.check(folder, str(tmp_path / "ws"))[0].message
    time.sleep(1.0)
    engine.abort(run)
    status = engine.wait(run, 30)
    # The sites were ended before they could say goodbye; their spools and pages say what they had logged.
    assert (status.state, status.events_complete) == (RunState.ABORTED, True)
    site = engine.fetch(run, tmp_path / "copy").sites["site-1"]
    assert (site.logged, site.dropped) == (site.journaled, 0)
    assert site.journaled > 0
    engine.abort(run)


def test_killed_run_is_lost_not_running(make_job: MakeJob, tmp_path: Path) -> None:
    engine, folder = LocalEngine(), make_job(SLEEP).export_job(tmp_path / "jobs")
    run = engine.submit(folder, str(tmp_path / "ws"))
    wait_for(engine, run, RunState.RUNNING)
    os.kill(int((tmp_path / "ws" / "lock").read_text()), signal.SIGKILL)
    wait_for(engine, run, RunState.LOST)
    with pytest.raises(RunNotFound, match="fedtrack resume"):
        engine.fetch(run, tmp_path / "copy")


#: Each site waits in its second round until the test lets it go on.
PAUSE = """
import time
from pathlib import Path
while model.current_round == 1 and not Path("go").exists():
    time.sleep(0.05)
"""


def fedtrack_there(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedtrack", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60)


def test_another_terminal_sees_a_live_run_and_ends_it(make_job: MakeJob, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pause = PAUSE.replace('Path("go")', f"Path({str(tmp_path / 'go')!r})")
    folder = make_job(pause, num_rounds=3).export_job(tmp_path / "jobs")
    started = fedtrack_there(tmp_path, "submit", str(folder), "-w", "ws")
    assert started.returncode == 0, started.stderr
    deadline = time.monotonic() + 60
    while "round 1 (of 3)" not in (text := fedtrack_there(elsewhere, "runs", "status", "../ws").stdout):
        assert time.monotonic() < deadline, text
    assert text.startswith("running: round 1 (of 3), 2 of 2 sites up, ")
    shown = fedtrack_there(elsewhere, "runs", "show", "../ws")
    assert (shown.returncode, shown.stdout.startswith("test-job: running: round 1 (of 3)")) == (0, True)
    assert shown.stdout.endswith("the run goes on; these are its counts at this moment\n")
    (listed,) = json.loads(fedtrack_there(elsewhere, "runs", "list", "../ws", "--json").stdout)
    assert (listed["status"], listed["round"], listed["sites"]) == ("running", "1/3", "2/2")
    assert (listed["job"], int(listed["events"]) >= 100) == ("test-job", True)
    verified = fedtrack_there(elsewhere, "runs", "verify", "../ws")
    assert (verified.returncode, "Everything is there" in verified.stdout) == (0, False), verified.stdout
    assert "No count differs." in verified.stdout
    assert "The run goes on" in verified.stderr
    aborted = fedtrack_there(elsewhere, "runs", "abort", "../ws")
    assert (aborted.returncode, aborted.stdout.startswith("aborted: ")) == (0, True), aborted.stderr
    assert "its events until now are delivered" in aborted.stderr
    again = fedtrack_there(elsewhere, "runs", "abort", "../ws")
    assert (again.returncode, again.stderr) == (0, "The run is over already; nothing was done.\n")
    assert fedtrack_there(elsewhere, "runs", "wait", "../ws").returncode == 1
    assert "Everything is there." in fedtrack_there(elsewhere, "runs", "verify", "../ws").stdout


def test_every_command_says_that_a_server_died_where_it_was_and_how_to_go_on(make_job: MakeJob, tmp_path: Path) -> None:
    pause = PAUSE.replace('Path("go")', f"Path({str(tmp_path / 'go')!r})")
    engine, folder = LocalEngine(), make_job(pause).export_job(tmp_path / "jobs")
    run = engine.submit(folder, str(tmp_path / "ws"))
    deadline = time.monotonic() + 60
    while "round 1 (of 2)" not in (detail := engine.status(run).detail):
        assert time.monotonic() < deadline, detail
        time.sleep(0.05)
    os.kill(int((tmp_path / "ws" / "lock").read_text()), signal.SIGKILL)
    wait_for(engine, run, RunState.LOST)
    status = fedtrack("runs", "status", str(tmp_path / "ws")).stdout
    for text in (status, fedtrack("runs", "show", str(tmp_path / "ws")).stdout):
        assert "lost: its server died in round 1 (of 2)" in text
        assert f"to continue it: fedtrack resume {tmp_path / 'ws'}" in text
    (listed,) = json.loads(fedtrack("runs", "list", str(tmp_path / "ws"), "--json").stdout)
    assert (listed["status"], listed["round"]) == ("lost", "1/2")


def test_failed_run_can_be_fetched(make_job: MakeJob, tmp_path: Path) -> None:
    engine, folder = LocalEngine(), make_job("raise ValueError('no data')").export_job(tmp_path / "jobs")
    run = engine.submit(folder, str(tmp_path / "ws"))
    status = engine.wait(run, 60)
    assert status.state is RunState.FAILED
    assert "no data" in status.detail
    assert engine.fetch(run, tmp_path / "copy").status == "failed"


def test_unknown_run(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="holds no run"):
        LocalEngine().status(RunHandle("local", str(tmp_path), "nobody", ""))


@pytest.mark.parametrize("run_id", ["", "Upper", "../up", "x" * 65])
def test_run_id_is_checked(make_job: MakeJob, tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ConfigError, match="The run id"):
        LocalEngine().submit(make_job().export_job(tmp_path / "jobs"), str(tmp_path / "ws"), run_id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs", "status", "{"), "This is no run handle"),
        (("runs", "status", "nowhere.json"), "holds no run handle"),
        (("runs", "show", "."), "holds no run"),
    ],
)
def test_mistakes_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fedtrack(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
