"""The command of a site: its status is the site's, and what it leaves behind lives and ends with the site."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from fedtrack_local.processes.messages import EndRun, Exited, SiteLeft
from fedtrack_local.processes.sites import SitePool
from support.site_processes import collect, fork_server, pool, site_spec, until_exit

__all__ = ["fork_server", "pool"]

SCRIPT = """
import os, sys, time
from pathlib import Path
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer
flare.init()
Path("pid").write_text(str(os.getpid()))
Writer().record_metric("x", 1.0, 0)
while flare.is_running():
    flare.receive()
"""


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def number_in(path: Path) -> int:
    deadline = monotonic() + 60
    while not path.exists() or not path.read_text().strip():
        assert monotonic() < deadline, path
        sleep(0.01)
    return int(path.read_text())


def wait_until_gone(pid: int) -> None:
    deadline = monotonic() + 10
    while is_running(pid):
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.parametrize(
    ("command", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -9), ("kill -15 $$", -15), ("kill -11 $$", -11), ("kill 0", -15)],
)
def test_the_status_of_the_command_is_that_of_the_site(
    command: str, status: int, pool: SitePool, tmp_path: Path
) -> None:
    spec = site_spec(tmp_path, "", external=["sh", "-c", command])
    pool.start(spec)
    assert until_exit(pool, spec.name)[-1] == Exited(spec.name, status)


@pytest.mark.parametrize("launcher", ["nohup {} client.py &", "setsid --fork {} client.py", "({} client.py &)"])
def test_a_launcher_may_end_before_the_training(launcher: str, pool: SitePool, tmp_path: Path) -> None:
    spec = site_spec(tmp_path, SCRIPT, external=["sh", "-c", launcher.format(sys.executable)])
    pool.start(spec)
    training = number_in(tmp_path / "pid")
    collect(pool, lambda events: pool._links[spec.name].had_leader)
    assert pool.is_alive(spec.name)
    assert is_running(training)
    pool.send(spec.name, EndRun())
    left, *_, exited = until_exit(pool, spec.name)
    assert isinstance(left, SiteLeft)
    assert (left.logged, exited) == (1, Exited(spec.name, 0))
    wait_until_gone(training)


def test_what_a_command_leaves_running_ends_when_the_training_has_ended(pool: SitePool, tmp_path: Path) -> None:
    shell = f"setsid sleep 600 & echo $! > helper; {sys.executable} client.py"
    spec = site_spec(tmp_path, SCRIPT, external=["sh", "-c", shell])
    pool.start(spec)
    number_in(tmp_path / "pid")
    pool.send(spec.name, EndRun())
    assert until_exit(pool, spec.name)[-1] == Exited(spec.name, 0)
    wait_until_gone(number_in(tmp_path / "helper"))


def test_what_a_command_that_fails_leaves_running_ends_with_it(pool: SitePool, tmp_path: Path) -> None:
    spec = site_spec(tmp_path, "", external=["sh", "-c", "setsid sleep 600 & echo $! > helper; exit 5"])
    pool.start(spec)
    assert until_exit(pool, spec.name)[-1] == Exited(spec.name, 5)
    wait_until_gone(number_in(tmp_path / "helper"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_site_reaches_everything_that_its_command_started(
    number: int, pool: SitePool, tmp_path: Path
) -> None:
    shell = f"setsid {sys.executable} client.py; true"
    spec = site_spec(tmp_path, SCRIPT, external=["sh", "-c", shell])
    pool.start(spec)
    training = number_in(tmp_path / "pid")
    pool.kill(spec.name, number)
    assert until_exit(pool, spec.name)[-1] == Exited(spec.name, -number)
    wait_until_gone(training)


def test_a_command_that_is_gone_when_its_server_is_killed_leaves_no_training(tmp_path: Path) -> None:
    lonely = SitePool()
    try:
        spec = site_spec(tmp_path, SCRIPT, external=[sys.executable])
        lonely.start(spec)
        training = number_in(tmp_path / "pid")
        lonely._process._process.kill()
        wait_until_gone(training)
    finally:
        lonely.close()
