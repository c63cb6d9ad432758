"""``fedtrack run``, ``resume`` and ``submit``: which options go together, and what the older spellings do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedtrack.cli.app import build_app
from fedtrack.errors import ConfigError, FedtrackError
from support.throwaway import Install

#: An engine that writes down what it is asked for, and ends every run in the state that its target names.
ENGINE = """
import json
from pathlib import Path

from fedtrack import hookimpl
from fedtrack.delivery import ReceiverTally
from fedtrack.engine import RunHandle, RunState, RunStatus
from fedtrack.errors import RunNotFound
from fedtrack.runs.result import RunResult

class CloudEngine:
    name = "cloud"
    summary = "Elsewhere."

    def _note(self, *call):
        with Path("calls").open("a") as file:
            file.write(json.dumps([str(item) if isinstance(item, Path) else item for item in call]) + "\\n")

    def run(self, job, workspace, *, gpus=None, run_id=None):
        self._note("run", job, workspace, gpus, run_id)
        return self._result(run_id, workspace)

    def resume(self, workspace, *, gpus=None):
        self._note("resume", workspace, gpus)
        return self._result("r", workspace)

    def _result(self, run_id, workspace, status="completed", folder=None):
        gaps = [("site-1", "lost")] if workspace.name == "lossy" else []
        bad = {"bad": ReceiverTally("csv", "server", pending=5, addressed=5, id="bad")}
        receivers = bad if workspace.name == "unserved" else {}
        folder = folder or workspace
        return RunResult(run_id, "shown", status, "", workspace, folder, 1.0, [], {}, None, {}, receivers, gaps, {})

    def submit(self, job, target, run_id=None):
        self._note("submit", job, target, run_id)
        return RunHandle("cloud", target, run_id or "fresh", "7")

    def wait(self, run, timeout=None):
        self._note("wait", run.run_id)
        state, _, events = run.target.partition("-")
        unserved = ["bad"] if events == "unserved" else []
        complete = {"": None, "lossy": False}.get(events, True)
        return RunStatus(RunState(state), "as it was said", complete, unserved)

    def fetch(self, run, dest):
        self._note("fetch", run.run_id, dest)
        if run.target == "rejected":
            raise RunNotFound("The run left no results.")
        folder = dest / "server" / "simulate_job"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"run_id": run.run_id, "job": "job", "started_ns": 1}))
        return self._result(run.run_id, dest, run.target.partition("-")[0], folder)

    def close(self):
        self._note("close")

@hookimpl
def fedtrack_engines():
    return [CloudEngine]
"""


@pytest.fixture
def cloud(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install("fedtrack-cloud", ENGINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fedtrack(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), list(arguments))


def calls(folder: Path) -> list[list[str | None]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def test_a_run_on_this_machine(cloud: Path) -> None:
    done = fedtrack("run", "job", "-w", "ws", "--engine", "cloud", "--gpus", "0,1", "--run-id", "mine")
    assert done.exit_code == 0, done.output
    assert calls(cloud) == [["run", "job", "ws", "0,1", "mine"], ["close"]]


def test_a_run_has_a_workspace_of_its_own_accord(cloud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(cloud / "state"))
    done = fedtrack("run", "job", "--engine", "cloud")
    workspace = str(cloud / "state" / "fedtrack" / "jobs" / "workdir")
    assert calls(cloud)[0] == ["run", "job", workspace, None, None]
    assert f"Workspace: {workspace}" in done.output


def test_a_run_at_a_target_is_submitted_waited_for_and_fetched(cloud: Path) -> None:
    done = fedtrack("run", "job", "-w", "ws", "--engine", "cloud", "--target", "completed", "--run-id", "mine")
    assert done.exit_code == 0, done.output
    assert [call[0] for call in calls(cloud)] == ["submit", "wait", "fetch", "close"]
    assert done.stdout.splitlines() == [
        "completed: as it was said",
        "Results: ws/server/simulate_job (all events arrived)",
    ]
    assert json.loads((cloud / "ws" / "handle.json").read_text())["native_id"] == "7"
    assert "Ctrl-C ends the waiting, not the run" in done.stderr


def test_what_another_run_left_in_the_workspace_is_moved_aside(cloud: Path) -> None:
    for run_id in ("first", "second"):
        fedtrack("run", "job", "-w", "ws", "--engine", "cloud", "--target", "completed", "--run-id", run_id)
    assert "first" in (cloud / "ws" / "runs" / "1" / "server" / "simulate_job" / "run.json").read_text()
    assert "second" in (cloud / "ws" / "server" / "simulate_job" / "run.json").read_text()


@pytest.mark.parametrize(("target", "results"), [("failed", True), ("rejected", False)])
def test_a_run_that_did_not_complete_is_told_by_the_exit_code(cloud: Path, target: str, results: bool) -> None:
    done = fedtrack("run", "job", "-w", "ws", "--engine", "cloud", "--target", target)
    assert (done.exit_code, done.exception.__class__) == (1, SystemExit)
    assert done.stdout.startswith(f"{target}: as it was said\n")
    assert ("Results: " in done.stdout) is results


def test_submit_prints_the_handle_and_returns(cloud: Path) -> None:
    done = fedtrack("submit", "job", "--engine", "cloud", "--target", "completed", "-w", "ws", "--run-id", "mine")
    assert calls(cloud) == [["submit", "job", "completed", "mine"], ["close"]]
    assert json.loads(done.stdout)["run_id"] == "mine"
    assert (cloud / "ws" / "handle.json").read_text() == done.stdout.strip()


def test_nothing_is_submitted_whose_handle_has_no_place(cloud: Path) -> None:
    (cloud / "file").touch()
    done = fedtrack("submit", "job", "--engine", "cloud", "--target", "completed", "-w", "file/ws")
    assert "choose a folder that you can write" in str(done.exception)
    assert not (cloud / "calls").exists()


@pytest.mark.parametrize(("fault", "said"), [("lossy", "events are missing"), ("unserved", "bad got nothing")])
@pytest.mark.parametrize(
    "command", [("run", "job", "-w"), ("resume",), ("run", "job", "--target", "completed", "-w")], ids=" ".join
)
def test_a_completed_run_with_lost_calls_or_a_receiver_that_got_nothing_is_no_success(
    cloud: Path, command: tuple[str, ...], fault: str, said: str
) -> None:
    done = fedtrack(*command, fault, "--engine", "cloud")
    assert done.exit_code == 1
    assert calls(cloud)[-1] == ["close"]
    if "--target" in command:
        assert done.stdout.splitlines()[-1].endswith(f"({said}, see: fedtrack runs show {fault})")


def test_resume_goes_on_with_a_workspace(cloud: Path) -> None:
    assert fedtrack("resume", "ws", "--engine", "cloud", "--gpus", "1").exit_code == 0
    assert calls(cloud) == [["resume", "ws", "1"], ["close"]]


def test_the_older_spellings_do_the_same_and_name_the_new_ones(cloud: Path) -> None:
    done = fedtrack("run", "--resume", "ws", "--engine", "cloud", "--gpus", "1")
    assert calls(cloud) == [["resume", "ws", "1"], ["close"]]
    assert done.stderr == "'fedtrack run --resume' is deprecated and will be removed; use: fedtrack resume WORKSPACE\n"
    done = fedtrack("run", "job", "--engine", "cloud", "--target", "completed", "--detach")
    assert json.loads(done.stdout)["run_id"] == "fresh"
    line, *hints = done.stderr.splitlines()
    assert line.endswith("use: fedtrack submit JOB --engine ENGINE --target TARGET")
    assert [hint.split(": ")[0] for hint in hints] == ["Watch it", "Wait for it", "End it"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run", "Give an exported job: fedtrack run JOB. To go on with a run: fedtrack resume WORKSPACE"),
        ("run --target completed", "Give an exported job"),
        ("run job --resume ws", "give its workspace only (fedtrack resume WORKSPACE)."),
        ("run --resume ws -w other", "give its workspace only"),
        ("run --resume ws --detach", "give its workspace only"),
        ("run job --engine cloud --target completed --gpus 0", "--gpus deals out the GPUs of this machine"),
        ("run job --engine cloud --detach", "--detach needs a target: fedtrack submit JOB"),
    ],
)
def test_options_that_do_not_go_together(cloud: Path, arguments: str, message: str) -> None:
    done = fedtrack(*arguments.split())
    assert isinstance(done.exception, FedtrackError)
    assert (done.exception.exit_code, message in str(done.exception)) == (2, True)
    assert not (cloud / "calls").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--engine cloud", "The engine 'cloud' needs a target: fedtrack submit JOB --engine cloud --target TARGET"),
        ("--engine cloud -w ws", "The engine 'cloud' needs a target"),
        ("", "Give the folder for everything that the run writes: fedtrack submit JOB --workspace FOLDER"),
    ],
)
def test_submit_needs_a_target_or_a_workspace_of_this_machine(cloud: Path, arguments: str, message: str) -> None:
    done = fedtrack("submit", "job", *arguments.split())
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith(message)
    assert not (cloud / "calls").exists() or calls(cloud) == [["close"]]


def test_submit_says_how_the_run_is_watched_and_ended(cloud: Path) -> None:
    done = fedtrack("submit", "job", "--engine", "cloud", "--target", "completed", "-w", "my ws")
    assert [line.split(": ")[1].strip() for line in done.stderr.splitlines()] == [
        f"fedtrack runs {command} 'my ws'" for command in ("status", "wait", "abort")
    ]
    assert fedtrack("runs", "wait", "my ws").stdout == "completed: as it was said\n"


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        ("completed", 0, ""),
        ("failed", 1, ""),
        ("aborted", 1, ""),
        ("lost", 1, ""),
        ("completed-full", 0, "; all events arrived"),
        ("completed-lossy", 1, "; events are missing"),
        ("completed-unserved", 1, "; bad got nothing"),
    ],
)
def test_waiting_ends_with_an_exit_code_for_programs(cloud: Path, state: str, code: int, said: str) -> None:
    handle = fedtrack("submit", "job", "--engine", "cloud", "--target", state).stdout
    done = fedtrack("runs", "wait", handle)
    assert (done.exit_code, done.stdout) == (code, f"{state.partition('-')[0]}: as it was said{said}\n")


def test_a_drain_goes_through_the_protocol(cloud: Path) -> None:
    handle = fedtrack("submit", "job", "--engine", "cloud", "--target", "completed").stdout
    refused = fedtrack("runs", "drain", handle).exception
    assert str(refused).startswith("The engine 'cloud' leaves nothing at its sites that could be drained")


@pytest.mark.parametrize("option", ["--json-lines", "-q"])
@pytest.mark.parametrize("place", [("--engine", "cloud"), ("--target", "completed")])
def test_another_engine_or_a_target_shows_its_runs_itself(cloud: Path, option: str, place: tuple[str, str]) -> None:
    done = fedtrack("run", "job", option, *place)
    assert "on this machine" in str(done.exception)
    assert not (cloud / "calls").exists()


def test_a_run_is_not_shown_in_two_styles(cloud: Path) -> None:
    assert "give one of the two" in str(fedtrack("run", "job", "--json-lines", "--quiet").exception)
