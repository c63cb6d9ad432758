"""A script that no job runs logs into a run folder of its own, which the usual commands read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.runs.replay import replay
from fedtrack.runs.stored_run import StoredRun, find_run
from fedtrack.runs.stored_tally import tally_of

SCRIPT = """
from fedtrack.client.tracking import MLflowWriter, SummaryWriter
first, second = SummaryWriter("runs/exp1"), MLflowWriter()
for step in range(5):
    first.add_scalar("loss", 1 / (step + 1), step)
second.log_param("lr", 0.1)
print("logged", flush=True)
"""


def run_script(folder: Path, more: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    script = folder / "train.py"
    script.write_text(SCRIPT + more)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("FEDTRACK_")}
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=inherited | {"HOME": str(folder / "home")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def the_run(folder: Path) -> StoredRun:
    (root,) = folder.glob("fedtrack-runs/*")
    return find_run(root)


@pytest.mark.parametrize("ending", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_every_record_is_in_one_run_also_if_the_script_is_killed(tmp_path: Path, ending: str) -> None:
    ended = run_script(tmp_path, ending)
    assert ended.returncode == (-signal.SIGKILL if ending else 0), ended.stderr
    run = the_run(tmp_path)
    assert tally_of(run).sites["local"].logged == 6
    assert ended.stderr.count("no job runs this script") == 1
    assert run.base.name in ended.stderr


def test_the_records_are_delivered_to_a_receiver(tmp_path: Path) -> None:
    run_script(tmp_path)
    run = the_run(tmp_path)
    done = replay(run, ("tensorboard", {}))
    assert [report.delivered for report in done.receivers.values()] == [6]
    assert done.complete
    assert tally_of(run).events_complete
    assert list((run.folder / "tb_events" / "local").glob("events*"))


def test_a_folder_that_cannot_be_written_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "fedtrack-runs").write_text("a file")
    state = tmp_path / "state"
    ended = run_script(tmp_path, XDG_STATE_HOME=str(state))
    assert ended.returncode == 0, ended.stderr
    assert len(list((state / "fedtrack" / "runs").iterdir())) == 1


def test_the_folder_can_be_chosen(tmp_path: Path) -> None:
    ended = run_script(tmp_path, FEDTRACK_RUNS=str(tmp_path / "mine"))
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "mine").iterdir())) == 1
    assert not (tmp_path / "fedtrack-runs").exists()


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("FEDTRACK_CLIENT_BACKEND", "must pass on the environment variables whose names begin with FEDTRACK"),
        ("FEDTRACK_SITE_PROCESS", "call fedtrack.client.init() before"),
    ],
)
def test_a_process_of_a_job_never_logs_beside_the_job(tmp_path: Path, variable: str, words: str) -> None:
    ended = run_script(tmp_path, **{variable: "1"})
    assert ended.returncode == 1
    assert words in ended.stderr
    assert not (tmp_path / "fedtrack-runs").exists()
