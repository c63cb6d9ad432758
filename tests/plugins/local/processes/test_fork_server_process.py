"""The fork server as a child: what it sees of this process, and that it always ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic, sleep

import pytest

from fedtrack_local.processes.fork_server_process import ForkServerProcess, environment_for_sites


def is_running(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def environment_of(pid: int) -> dict[str, str]:
    deadline = monotonic() + 30
    while not (content := Path(f"/proc/{pid}/environ").read_bytes()) and monotonic() < deadline:
        sleep(0.01)  # nothing can be read while the kernel replaces the program
    entries = content.split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if entry)


@pytest.mark.threat("T9")
def test_it_gets_what_sites_may_have_and_nothing_of_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_TOKEN", "SOMETHING", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "3")
    monkeypatch.setenv("DATA_FOLDER", "/data")
    monkeypatch.setenv("FEDTRACK_SITE_VARIABLES", "DATA_*")
    with ForkServerProcess() as process:
        found = environment_of(process._process.pid)
    assert found == environment_for_sites()
    assert found["DATA_FOLDER"] == "/data"
    assert {"GITHUB_TOKEN", "SOMETHING", "RANK", "WORLD_SIZE"} & found.keys() == set()


def test_ctrl_c_in_the_terminal_does_not_reach_it() -> None:
    with ForkServerProcess() as process:
        assert os.getsid(process._process.pid) != os.getsid(0)


def test_it_ends_when_it_is_closed_and_when_its_server_hangs_up() -> None:
    with ForkServerProcess() as process:
        pid = process._process.pid
    assert not is_running(pid)
    other = ForkServerProcess()
    other.hang_up()
    assert other._process.wait(30) == 0
    other.close()


def test_one_that_does_not_end_in_time_is_killed() -> None:
    process = ForkServerProcess()
    os.kill(process._process.pid, signal.SIGSTOP)
    begun = monotonic()
    process.close(grace_seconds=0.1)
    assert process._process.returncode == -signal.SIGKILL
    assert monotonic() - begun < 10


def test_what_it_printed_before_it_died_can_be_shown() -> None:
    with ForkServerProcess() as process:
        process.control.send(b"no message")
        assert process._process.wait(60) == 1
        assert "msgspec.ValidationError" in process.output()
