"""A site's agent as a real process: it delivers what the site logged, and what it could not is counted and kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.journal import Journal
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.writer import Writer
from fedtrack_local.scripts.site_agent import SiteAgent, agent_spec
from fedtrack_tensorboard import TBAnalyticsReceiver

Start = Callable[[], SiteAgent]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return a starter of the agent of a site that has logged five values."""
    monkeypatch.chdir(tmp_path)
    Path("client.py").write_text("")
    job = FedAvgJob(name="j", n_clients=1, analytics_receiver=False)
    job.to_clients(ScriptRunner("client.py"))
    job.to(TBAnalyticsReceiver(), "site-1", id="board")
    run = RunInfo("r", "j", tmp_path, "server", ("site-1",), 0, BlobStore(tmp_path / "blobs"))
    spec = agent_spec("site-1", job.export_job(tmp_path / "jobs"), tmp_path / "ws", run, deletes=False)
    spec.folder.mkdir(parents=True)
    spool = Spool(spec.folder / "spool")
    for step in range(5):
        Writer(spool).record_metric("loss", 1.0, step)
    spool.close()
    return lambda: SiteAgent(spec, {"board": "tensorboard"})


@pytest.mark.slow
def test_what_was_logged_is_delivered_when_the_training_has_ended(start: Start, tmp_path: Path) -> None:
    agent = start()
    agent.finish("completed", 30.0)
    report = agent.report()
    (found,) = report.receivers
    assert found.id == "board"
    assert (found.receiver, found.node) == ("tensorboard", "site-1")
    assert (found.delivered, found.pending, found.error) == (5, 0, "")
    assert list((tmp_path / "ws" / "site-1").rglob("events.out.tfevents.*"))


def test_an_agent_that_was_killed_says_nothing_and_its_spool_is_counted(
    start: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    agent = start()
    os.kill(agent._process.pid, signal.SIGKILL)
    agent.finish("completed", 1.0)
    report = agent.report()
    (found,) = report.receivers
    assert found.id == "board"
    # What its receivers have taken stands in the site's ledger; what was in the spool is in its journal.
    journal = Journal(tmp_path / "ws" / "site-1" / "simulate_job" / "journal.db")
    assert journal.total() == 5
    journal.close()
    assert "the site's agent died; see" in found.error
    assert "site-1: its agent died; what it has not delivered is kept" in caplog.text
