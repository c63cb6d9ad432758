"""Workspaces that a server must leave alone: in use, read-only, written by a newer version."""

from __future__ import annotations

import ctypes
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.runs.workspace import Workspace

from .conftest import MakeJob

pytestmark = pytest.mark.slow

HOLD = """
import sys, time
from pathlib import Path
from fedtrack.runs.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def fedtrack(*arguments: str, unprivileged: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fedtrack", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=_obey_permissions if unprivileged else None,
    )


def _obey_permissions() -> None:
    """Give up what lets root write where it may not: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def ended(make_job: MakeJob, tmp_path: Path) -> Path:
    """A workspace in which a run has ended."""
    make_job().simulator_run(tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture
def holder(ended: Path) -> Iterator[subprocess.Popen[str]]:
    """A server that uses the workspace."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(ended)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        yield process
    process.kill()
    process.wait()


# `resume` is not among them: of a completed run it says so, and needs no workspace.
@pytest.mark.parametrize("command", [["runs", "replay"], ["runs", "verify"], ["runs", "prune"]], ids=" ".join)
def test_second_server_names_the_first_and_writes_nothing(
    ended: Path, holder: subprocess.Popen[str], command: list[str]
) -> None:
    before = content(ended)
    done = fedtrack(*command, str(ended))
    assert done.returncode == 2
    assert f"is in use by the process {holder.pid}" in done.stderr
    assert content(ended) == before


def test_killed_server_leaves_no_lock(ended: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    begun = time.monotonic()
    Workspace(ended).close()
    assert time.monotonic() - begun < 1


def test_read_only_workspace_is_refused_and_left_alone(ended: Path) -> None:
    before = content(ended)
    paths = [path for path in [ended, *ended.rglob("*")] if not path.is_symlink()]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = fedtrack("runs", "replay", str(ended), unprivileged=True)
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "cannot be used: Permission denied; choose a folder that you can write" in done.stderr
    assert content(ended) == before


@pytest.mark.parametrize("command", [["resume"], ["runs", "replay"], ["runs", "show"]], ids=" ".join)
def test_workspace_of_a_newer_version_is_refused_and_left_alone(ended: Path, command: list[str]) -> None:
    journal = ended / "server" / "simulate_job" / "journal.db"
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
        connection.commit()
    before = journal.read_bytes()
    done = fedtrack(*command, str(ended))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "has format 99, this version of fedtrack reads up to 2; upgrade it" in done.stderr
    assert journal.read_bytes() == before
