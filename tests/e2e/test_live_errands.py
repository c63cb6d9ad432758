"""The commands for stored runs work on a run that goes on, through the process that delivers its events."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedtrack import plugins
from fedtrack.job import export_job
from fedtrack.runs.dead_letters import list_dead
from fedtrack.runs.live_run import server_of
from fedtrack.runs.result import RunResult
from fedtrack.runs.stored_run import StoredRun, find_run
from fedtrack.runs.verify import verify
from support.delivering import until

from .conftest import make_job
from .test_stored_runs import fedtrack, picky

__all__ = ["picky"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@contextmanager
def ending(go: Path) -> Iterator[None]:
    """Let the sites go on at the end."""
    try:
        yield
    finally:
        go.touch()


@pytest.fixture
def going(picky: Path, tmp_path: Path) -> Iterator[tuple[StoredRun, subprocess.Popen[str]]]:
    """A run of two sites in their second round, whose sites have logged 40 steps each; and its process."""
    job = make_job("wait_in_round.py", str(tmp_path / "go"), analytics_receiver=False)
    for place in ("server", "site-1"):
        Path(f"{picky}-{place}.picky").touch()
        job.to(plugins.registry().receiver("picky")(file=f"{picky}-{place}"), place, id="own")
    folder = export_job(job, tmp_path / "jobs")
    command = [sys.executable, "-m", "fedtrack", "run", str(folder), "-w", str(tmp_path / "ws")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with process, ending(tmp_path / "go"):
        until(lambda: (tmp_path / "ws" / "server").is_dir(), 60)
        until(lambda: len(list_dead(find_run(tmp_path / "ws"))) >= 12, 60)
        yield find_run(tmp_path / "ws"), process


def test_each_command_works_on_a_run_that_goes_on(
    going: tuple[StoredRun, subprocess.Popen[str]], picky: Path, tmp_path: Path
) -> None:
    run, process = going
    server = server_of(run.folder)
    assert server is not None
    for place in ("server", "site-1"):
        Path(f"{picky}-{place}.picky").unlink()

    replayed = fedtrack("replay", str(run.base))
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert "own: " in replayed.stdout
    assert "site-1/own: 0 events delivered now" in replayed.stdout
    other = fedtrack("replay", str(run.base), "--receiver", "tensorboard")
    assert other.returncode == 0, other.stdout + other.stderr

    for receiver in ("own", "site-1/own"):
        retried = fedtrack("dlq", "retry", str(run.base), receiver)
        assert (retried.returncode, retried.stderr) == (0, ""), receiver
        assert " delivered, 0 refused again" in retried.stdout
    assert list_dead(run) == []
    refused = fedtrack("dlq", "drop", str(run.base), "own")
    assert refused.returncode == 2
    assert "The receiver 'own' has no dead letters" in refused.stderr

    pruned = fedtrack("prune", str(run.base), "--older-than", "0")
    assert pruned.returncode == 0, pruned.stderr
    assert "server: 0 events" not in pruned.stdout
    assert "site-1: 40 events deleted" in pruned.stdout

    assert server_of(run.folder) == server  # none of them has ended or replaced it
    (tmp_path / "go").touch()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    result = RunResult.load(run.folder / "run_summary.json")
    assert result.events_complete
    for label, count in (("own", 80 + result.sites["server"].journaled), ("site-1/own", 40)):
        tally = result.receivers[label]
        assert (tally.delivered, tally.dead, tally.pending) == (count, 0, 0), label
    assert [check for check in verify(find_run(tmp_path / "ws")) if check.problem] == []
    assert not list((run.folder / "errands").iterdir())
    assert (run.folder / "tb_events").exists()
