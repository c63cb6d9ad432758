"""A run whose output nobody reads, or whose terminal is closed, ends with the truth about the run."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedtrack.runs.result import RunResult

pytestmark = pytest.mark.slow

JOB = """
import numpy as np
from fedtrack import FedAvgJob, ScriptRunner
initial = {"w": np.zeros(3, np.float32)}
job = FedAvgJob(name="j", n_clients=2, num_rounds=2, initial_model=initial, analytics_receiver=False)
job.to_clients(ScriptRunner("client.py", framework="numpy"))
job.export_job("exported")
"""

CLIENT = """
import pathlib, time
import fedtrack.client as flare
from fedtrack.tracking import Writer
flare.init()
while flare.is_running():
    model = flare.receive()
    Writer().record_metric("loss", 1.0, model.current_round)
    LAST
    flare.send(flare.FLModel(params=model.params, metrics={"accuracy": 1.0}))
"""


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "client.py").write_text(CLIENT.replace("LAST", "pass"))
    subprocess.run([sys.executable, "job.py"], cwd=tmp_path, check=True, timeout=120)
    return tmp_path


def result_of(folder: Path) -> RunResult:
    return RunResult.load(folder / "ws" / "server" / "simulate_job" / "run_summary.json")


@pytest.mark.parametrize(
    ("redirection", "fails"),
    [
        (">&-", True),
        ("<&- >&- 2>&-", False),
        ("2>&1 | head -1", False),
        ("2>&1 | head -1", True),
        ("> /dev/full 2> /dev/full", False),
    ],
)
def test_the_exit_code_is_that_of_the_run(exported: Path, redirection: str, fails: bool) -> None:
    if fails:
        (exported / "client.py").write_text("raise OSError('no data')\n")
        subprocess.run([sys.executable, "job.py"], cwd=exported, check=True, timeout=120)
    command = f"{sys.executable} -m fedtrack run exported/j -w ws {redirection}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=exported, capture_output=True, text=True, timeout=120)
    assert ended.returncode == int(fails), ended.stderr
    assert "fedtrack_local" not in ended.stderr, "no error of the engine is shown"
    result = result_of(exported)
    assert result.status == ("failed" if fails else "completed")
    if not fails:
        assert {name: result.sites[name].journaled for name in ("site-1", "site-2")} == {"site-1": 2, "site-2": 2}


@pytest.mark.parametrize("torch", [False, True], ids=["in this process", "in a process of its own"])
def test_a_terminal_that_is_closed_ends_the_run_in_order(exported: Path, torch: bool) -> None:
    ready = exported / "ready"
    ready.mkdir()
    (exported / "client.py").write_text(
        CLIENT.replace("LAST", f"pathlib.Path({str(ready)!r}, flare.get_site_name()).touch(); time.sleep(99)")
    )
    (exported / "fake").mkdir()
    (exported / "fake" / "torch.py").write_text("")  # a server that has imported torch runs the job in another process
    run = JOB.replace('job.export_job("exported")', 'job.simulator_run("ws")')
    (exported / "job.py").write_text(("import sys; sys.path.append('fake'); import torch\n" if torch else "") + run)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(exported)
        os.execv(sys.executable, [sys.executable, "job.py"])  # noqa: S606 - the terminal is that of pty.fork
    deadline = time.monotonic() + 60
    os.set_blocking(terminal, False)
    while len(list(ready.iterdir())) < 2:  # both sites have logged
        assert time.monotonic() < deadline
        time.sleep(0.05)
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 65536)
    os.close(terminal)  # the kernel sends SIGHUP to the group, and every write to the terminal fails from now on
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    assert not os.WIFSIGNALED(ended[1]) or os.WTERMSIG(ended[1]) == signal.SIGINT  # Python's own end by an interrupt
    result = result_of(exported)
    assert result.status == "aborted"
    assert result.sites["site-1"].journaled == result.sites["site-2"].journaled == 1
    assert result.events_complete
