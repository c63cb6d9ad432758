"""A run with a site of a newer version, and a run whose journal was removed: lost and waiting records are reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedtrack.plugins import registry
from fedtrack.runs.replay import replay
from fedtrack.runs.result import RunResult
from fedtrack.runs.stored_run import LOST_JOURNAL, find_run
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.verify import verify
from fedtrack.spool import frames

from .conftest import CLIENT, MakeJob

pytestmark = pytest.mark.slow

#: As the next version of fedtrack would write its spool, on one of the sites.
NEWER_SITE = CLIENT.replace(
    "flare.init()",
    """flare.init()
if flare.get_site_name() == "site-1":
    from fedtrack.spool import frames
    frames.VERSION = 3
""",
)


def fedtrack(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedtrack", "runs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_newer_site_waits_in_its_spool_until_the_server_is_upgraded(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = make_job(script=NEWER_SITE).simulator_run(tmp_path / "ws")
    newer = "has format 3, this version of fedtrack reads up to 2; upgrade it"
    assert result.status == "completed"
    assert (result.sites["site-1"].logged, result.sites["site-1"].journaled) == (100, 0)
    assert result.sites["site-2"].journaled == 100
    assert (result.gaps, [*result.waiting], newer in result.waiting["site-1"]) == ([], ["site-1"], True)
    assert not result.events_complete

    # Every command counts what it can read, and says what it cannot.
    shown = fedtrack("show", str(tmp_path / "ws"))
    assert (shown.returncode, newer in shown.stdout, "events: incomplete" in shown.stdout) == (0, True, True)
    run = find_run(tmp_path / "ws")
    assert tally_of(run).sites["site-2"].journaled == 100
    assert any(newer in check.problem and check.what.startswith("site-1") for check in verify(run))
    assert newer in replay(run).waiting["site-1"]

    monkeypatch.setattr(frames, "VERSION", 3)
    done = replay(run)
    assert (done.journaled["site-1"], done.waiting, done.complete) == (100, {}, True)
    assert tally_of(run).complete
    assert [check for check in verify(run) if check.problem] == []


def test_a_run_whose_journal_was_removed_says_so_in_every_way(make_job: MakeJob, tmp_path: Path) -> None:
    make_job().simulator_run(tmp_path / "ws")
    run = find_run(tmp_path / "ws")
    (run.folder / "journal.db").unlink()
    assert not tally_of(run).complete
    assert LOST_JOURNAL in [check.problem for check in verify(run)]
    assert ("server", LOST_JOURNAL) in replay(run).gaps
    assert ("server", LOST_JOURNAL) in replay(run).gaps  # also when there is a journal again
    assert LOST_JOURNAL in [check.problem for check in verify(run)]


def test_a_server_that_was_killed_and_wiped_is_resumed_with_a_gap_and_fresh_events(
    make_job: MakeJob, tmp_path: Path
) -> None:
    marker = tmp_path / "stuck"
    stuck = f"""
    import pathlib, time
    while model.current_round == 1 and not pathlib.Path({str(tmp_path / "go")!r}).exists():
        pathlib.Path({str(marker)!r}).touch()
        time.sleep(0.05)
    """
    make_job(stuck, num_rounds=3).export_job(tmp_path / "jobs")
    command = [sys.executable, "-m", "fedtrack", "run", str(tmp_path / "jobs" / "test-job"), "-w", str(tmp_path / "ws")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    for path in (tmp_path / "ws" / "server" / "simulate_job").glob("journal.db*"):
        path.unlink()
    (tmp_path / "go").touch()

    result: RunResult = registry().engine("local")().resume(tmp_path / "ws")

    assert result.status == "completed"
    assert [r.current_round for r in result.rounds] == [0, 1, 2]
    assert ("server", LOST_JOURNAL) in result.gaps
    # What the sites still had in their spools is there as well as what they logged afterwards.
    assert result.sites["site-1"].journaled >= 2 * 50
    assert not tally_of(find_run(tmp_path / "ws")).complete
