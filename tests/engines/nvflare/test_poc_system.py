"""A FLARE system as hospitals would have it: what only the real server and the real sites can show."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedtrack.engines.engine import RunHandle, RunState
from fedtrack.errors import NotSupported
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.tracking import frames
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.records import Metric, decode
from fedtrack_nvflare import NVFlareEngine
from support.nvflare_poc import Poc

SLOW = """
import pathlib, time
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
step = 0
while flare.is_running():
    model = flare.receive()
    while True:
        writer.record_metric("loss", 1 / (step + 1), step)
        step += 1
        pathlib.Path(FOLDER, flare.get_site_name()).write_text(str(step))
        time.sleep(0.01)
"""

SITES = ("site-1", "site-2")


@pytest.fixture
def engine() -> Iterator[NVFlareEngine]:
    opened = NVFlareEngine()
    yield opened
    opened.close()


def export(folder: Path, monkeypatch: pytest.MonkeyPatch, n_clients: int = 2) -> Path:
    monkeypatch.chdir(folder)
    (folder / "client.py").write_text(SLOW.replace("FOLDER", repr(str(folder))))
    job = FedAvgJob({"w": np.zeros(3, np.float32)}, n_clients=n_clients, name="slow", analytics_receiver=False)
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    return job.export_job(folder / "jobs")


def returned(folder: Path, site: str) -> int:
    """How many log calls a site's script has seen return, as it wrote down; the last may have been cut short."""
    path = folder / site
    return int(path.read_text() or 0) if path.exists() else 0


def steps_of(folder: Path, site: str) -> list[int | None]:
    journal = Journal(folder / "journal.db")
    batches = [batch for batch in journal.read(0, limit_bytes=1 << 40) if batch.site == site]
    records = [decode(payload) for batch in batches for _, payload in frames.split(batch.body)]
    journal.close()
    return [record.step for record in records if isinstance(record, Metric)]


def test_environment_is_without_torch() -> None:
    assert find_spec("torch") is None


def test_everything_listens_on_loopback_only(poc: Poc) -> None:
    assert len(poc.pids()) >= 3
    assert poc.listening() == {"127.0.0.1"}


def test_aborted_run_is_drained_when_the_sites_are_there(
    poc: Poc, engine: NVFlareEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine.submit(export(tmp_path, monkeypatch), str(poc.kit))
    deadline = time.monotonic() + 60
    while min(returned(tmp_path, site) for site in SITES) < 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert engine.status(run).state is RunState.RUNNING
    # A second process watches and aborts: a handle is all it needs.
    subprocess.run([sys.executable, "-m", "fedtrack", "runs", "abort", run.to_json()], check=True, timeout=60)
    status = engine.wait(run, 60)
    assert (status.state, status.events_complete) == (RunState.ABORTED, False)
    assert "no goodbye of site-1, site-2" in status.detail
    while any(pid for site in SITES for pid in poc.pids(f"/{site}", run.native_id)):
        time.sleep(0.1)
    partial = engine.fetch(run, tmp_path / "partial")
    drained = engine.drain(run, 90)
    assert engine.status(drained).state is RunState.COMPLETED
    result = engine.fetch(run, tmp_path / "whole")
    assert (result.run_id, result.status, result.events_complete) == (run.run_id, "aborted", True)
    for site in SITES:
        assert 0 < partial.sites[site].journaled <= result.sites[site].journaled
        steps = steps_of(result.folder, site)
        assert steps == list(range(len(steps)))
        assert len(steps) >= returned(tmp_path, site)
        assert not (poc.production / site / "fedtrack" / "sites" / site / run.run_id).exists()
    assert engine.status(run).events_complete is True


def test_check_names_missing_sites(
    poc: Poc, engine: NVFlareEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = engine.check(export(tmp_path, monkeypatch, n_clients=3), str(poc.kit))
    assert [problem.message for problem in problems if problem.fatal] == [
        "The job needs 3 sites, connected are 2: ['site-1', 'site-2']."
    ]


def test_check_and_server_refuse_an_admin_without_the_right(
    poc: Poc, engine: NVFlareEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, job = str(poc.production / "org@nvidia.com"), export(tmp_path, monkeypatch)
    assert any("org_admin" in problem.message for problem in engine.check(job, kit))
    with pytest.raises(NotSupported, match="does not let this admin"):
        engine.submit(job, kit)


def test_unknown_handle_of_a_known_run_id(poc: Poc, engine: NVFlareEngine) -> None:
    handle = RunHandle("nvflare", str(poc.kit), "nobody", "not a job id")
    with pytest.raises(Exception, match="job"):
        engine.status(handle)
