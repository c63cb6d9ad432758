"""A job whose fork server dies ends with the cause, a summary and every record that was logged."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.errors import JobError
from fedtrack_local import starting
from fedtrack_local.processes.sites import SitePool

from .conftest import MakeJob
from .virtual_jobs import summary_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("virtual", [False, True], ids=["scripts", "workers"])
def test_a_fork_server_that_dies_while_sites_start_is_named(
    make_job: MakeJob, make_virtual_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virtual: bool
) -> None:
    start = SitePool.start

    def kill_first(pool: SitePool, spec: object) -> None:
        os.kill(pool._process._process.pid, signal.SIGKILL)
        pool._process._process.wait(30)
        start(pool, spec)  # type: ignore[arg-type]

    monkeypatch.setattr(SitePool, "start", kill_first)
    job = make_virtual_job() if virtual else make_job()
    log = tmp_path / "ws" / "runs" / "1" / "server" / "simulate_job" / "fork_server_log.txt"
    message = f"The process that starts the sites was killed by SIGKILL, .* its output is in {log}"
    with pytest.raises(JobError, match=message):
        job.simulator_run(tmp_path / "ws")
    result = summary_of(tmp_path / "ws")
    assert (result.status, log.exists()) == ("failed", True)
    assert re.search(message, result.error)


def test_one_that_dies_in_a_round_loses_nothing_that_was_logged(make_job: MakeJob, tmp_path: Path) -> None:
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    job = make_job(f"if flare.get_site_name() == 'site-1' and model.current_round == 1: {kill}")
    with pytest.raises(JobError, match="was killed by SIGKILL, and the sites ended with it"):
        job.simulator_run(tmp_path / "ws")
    result = summary_of(tmp_path / "ws")
    assert result.status == "failed"
    assert result.sites["site-1"].journaled == 100


def test_one_that_cannot_start_ends_the_command_with_its_reason(make_job: MakeJob, tmp_path: Path) -> None:
    make_job().export_job(tmp_path / "exported")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "selectors.py").write_text(
        "import sys\nif any('fork_server' in word for word in sys.orig_argv):\n"
        "    raise RuntimeError('a file of the user')\n"
        "import importlib.util, sysconfig\n"
        "path = sysconfig.get_path('stdlib') + '/selectors.py'\n"
        "exec(compile(open(path).read(), path, 'exec'))\n"
    )
    command = [sys.executable, "-m", "fedtrack", "run", str(tmp_path / "exported" / "test-job"), "-w", "ws"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "broken")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "RuntimeError: a file of the user" in ended.stderr
    assert "Error: The process that starts the sites exited with status 1" in ended.stderr
    assert starting.__name__ not in ended.stderr
