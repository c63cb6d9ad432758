"""A full disk stops a run until there is space; then it goes on, and the records of returned log calls arrive."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack.runs.replay import replay
from fedtrack.runs.result import SUMMARY_FILE
from fedtrack.runs.stored_run import find_run
from fedtrack.runs.verify import verify

from .conftest import make_job
from .stores import read_tensorboard


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 3 MB, of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting needs rights that this process lacks: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_what_was_logged_before_the_disk_was_full_arrives_later(
    small_disk: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fedtrack_local.course.STALL_SECONDS", 1.0)
    workspace = small_disk / "ws"
    larger = ["mount", "-o", "remount,size=100m", str(small_disk)]
    threading.Timer(20.0, subprocess.run, [larger], {"check": True}).start()
    result = make_job("log_much.py").simulator_run(workspace)
    shown = capfd.readouterr()
    assert result.status == "completed"
    assert "Traceback (most recent call last)" not in shown.out + shown.err
    assert "disk is full; its records wait in" in caplog.text  # what a terminal shows, too
    run = find_run(workspace)
    assert replay(run).complete
    # What found no room is known and said, or said to be unknown; nothing else is missing.
    found = [check for check in verify(run) if check.problem]
    assert all("found no room" in check.problem for check in found), found
    steps = {site: found.points for site, found in read_tensorboard(run.folder / "tb_events").items()}
    # Of a site that came late nothing may be there: the other one had filled the disk before its first call.
    assert max(steps.values()) > 1_000


def test_half_a_summary_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a version that wrote it in place may have left."""
    make_job("log_steps.py").simulator_run(tmp_path)
    run = find_run(tmp_path)
    path = run.folder / SUMMARY_FILE
    path.write_bytes(path.read_bytes()[:100])
    assert run.result is None
    assert f"{path} cannot be read, and is passed over" in caplog.text
    assert replay(run).complete
    assert [check for check in verify(run) if check.problem] == []
