"""Whole jobs with receivers that end their process or hang: exit code, last line, Ctrl-C, and the other receiver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fedtrack import plugins
from fedtrack.runs.result import RunResult
from support.deliverers import misbehaving

from .conftest import make_job

__all__ = ["misbehaving"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("misbehaving"), pytest.mark.timeout(300)]


def start(tmp_path: Path, **fault: Any) -> subprocess.Popen[str]:
    """Start ``fedtrack run`` with a healthy receiver and one with a fault."""
    job = make_job("log_steps.py", analytics_receiver=False)
    lines = plugins.registry().receiver("lines")
    job.to_server(lines(file=str(tmp_path / "healthy")), id="healthy")
    job.to_server(lines(file=str(tmp_path / "bad"), **fault), id="bad")
    command = [sys.executable, "-m", "fedtrack", "run", str(job.export_job(tmp_path / "jobs"))]
    with (tmp_path / "errors").open("w") as errors:
        return subprocess.Popen(
            [*command, "-w", str(tmp_path / "ws")],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
            start_new_session=True,
        )


def summary(tmp_path: Path) -> RunResult:
    return RunResult.load(tmp_path / "ws" / "server" / "simulate_job" / "run_summary.json")


@pytest.mark.parametrize(("where", "how"), [("open", "abort"), ("results", "segfault"), ("flush", "exit")])
def test_a_receiver_that_got_nothing_is_in_the_exit_code_and_in_the_last_line(
    tmp_path: Path, where: str, how: str
) -> None:
    process = start(tmp_path, where=where, how=how)
    output, _ = process.communicate(timeout=240)
    result = summary(tmp_path)
    healthy, bad = result.receivers["healthy"], result.receivers["bad"]
    assert (result.status, process.returncode) == ("completed", 1)
    assert (healthy.pending, healthy.error, bad.delivered) == (0, "", 0)
    assert healthy.delivered == healthy.addressed == bad.pending == bad.addressed
    assert output.splitlines()[-1].startswith("Got nothing: bad; the events are kept.")
    assert f"in {where}() by" in bad.error
    assert "Traceback" not in (tmp_path / "errors").read_text()


def test_ctrl_c_ends_the_wait_for_a_receiver_that_hangs_and_calls_no_healthy_one_pending(tmp_path: Path) -> None:
    process = start(tmp_path, where="receive", how="hang")
    deadline = time.monotonic() + 200
    while "waiting for bad (receive, " not in (tmp_path / "errors").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - started < 8  # 5 s on a machine that is not busy
    assert process.returncode == 130
    result = summary(tmp_path)
    healthy, bad = result.receivers["healthy"], result.receivers["bad"]
    assert (healthy.pending, bad.delivered) == (0, 0)
    assert bad.pending == bad.addressed
    assert "it has not returned from receive" in output
