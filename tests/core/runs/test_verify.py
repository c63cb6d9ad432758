"""Verify: each difference is named once, with its reason."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.journal.journal import Journal
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.verify import verify
from fedtrack.runs.workspace import RunRecord, Workspace
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    """A run that is over and whose site left a spool that no journal has."""
    script = tmp_path / "client.py"
    script.write_text("")
    job = FedAvgJob(n_clients=1, num_rounds=1, name="j", analytics_receiver=False)
    job.to_clients(ScriptRunner(str(script)))
    job.export_job(tmp_path / "ws" / "job")
    with closing(Workspace(tmp_path / "ws")) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5), ["site-1"])
        Journal(workspace.server / "journal.db").close()
    return StoredRun(tmp_path / "ws")


def problems(run: StoredRun) -> list[str]:
    return [f"{check.what}: {check.problem}" for check in verify(run) if check.problem]


def test_a_process_that_outlives_the_run_is_named_and_counted_once(run: StoredRun) -> None:
    spool = Spool(run.node("site-1") / "spool")
    writer = Writer(spool)
    for step in range(5):
        writer.record_metric("loss", 1.0, step)
    (living, *others) = [text for text in problems(run) if "spool only" in text or "differ" in text]
    assert living == (
        "site-1: in the spool only: 5 are not in the journal, because a process of the site is alive and has outlived "
        "the run; try: fedtrack runs replay"
    )
    assert others == []
    spool.close()
    (over,) = [text for text in problems(run) if "spool only" in text or "differ" in text]
    assert over == "site-1: in the spool only: 5 are not in the journal; try: fedtrack runs replay"
