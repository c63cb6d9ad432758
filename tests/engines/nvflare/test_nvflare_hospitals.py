"""A federation of hospitals, to test behaviour that needs a real server with its policies and real sites."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedtrack.engine import RunHandle, RunState
from fedtrack.errors import JobRejected, RunNotFound
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, decode
from fedtrack_nvflare import NVFlareEngine
from fedtrack_nvflare.export import export
from support.nvflare_hospitals import SERVER, Hospitals
from support.nvflare_system import SITES, signal_all

SCRIPT = """
import fedtrack.client as flare
from fedtrack.client.tracking import SummaryWriter

flare.init()
writer = SummaryWriter()
while flare.is_running():
    model = flare.receive()
    for step in range(50):
        writer.add_scalar("loss", 1 / (step + 1), model.current_round * 50 + step)
    flare.send(flare.FLModel(params=model.params, meta={"NUM_STEPS_CURRENT_ROUND": 50}))
"""

ENDLESS = """
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
        # In one step, because this process is killed.
        written = pathlib.Path(FOLDER, flare.get_site_name() + ".new")
        written.write_text(str(step))
        written.replace(written.with_suffix(""))
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[NVFlareEngine]:
    opened = NVFlareEngine()
    yield opened
    opened.close()


def make_job(folder: Path, script: str, n_clients: int = 2, *, receiver: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client.py").write_text(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        model = {"w": np.zeros(3, np.float32)}
        job = FedAvgJob(model, n_clients=n_clients, num_rounds=2, name="trial", analytics_receiver=receiver)
        job.to_clients(ScriptRunner("client.py", framework="numpy"))
        return job.export_job(folder / "jobs")


def fedtrack(*arguments: str | Path) -> str:
    """Run the command line in a process of its own, as a person would, and return what it prints."""
    command = [sys.executable, "-m", "fedtrack", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Sent:
    """What was submitted at the same time: most of a run on FLARE is waiting.

    Attributes:
        folder: Where it was made.
        honest: A job, sent from the command line by a hospital's lead.
        lying: One whose site-1 speaks in the name of site-2.
        refused: One with an app per node, as FLARE's own examples have it.
    """

    folder: Path
    honest: Path
    lying: RunHandle
    refused: RunHandle


@pytest.fixture(scope="module")
def sent(hospitals: Hospitals, engine: NVFlareEngine, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    folder = tmp_path_factory.mktemp("sent")
    job, kit = make_job(folder, SCRIPT), str(hospitals.kit)
    handle = folder / "handle.json"
    assert "can run on" in fedtrack("engines", "check", "nvflare", job, "--target", kit)
    handle.write_text(fedtrack("submit", job, "--engine", "nvflare", "--target", kit))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedtrack_nvflare.export.SHIPPER", "dishonest_shipper.DishonestShipper")
        lying = engine.submit(job, kit)
    split = split_apps(export(job, folder / "split", "split"))
    federation = engine._system(kit)
    native_id = federation._do(lambda session: session.submit_job(str(split)))
    return Sent(folder, handle, lying, RunHandle("nvflare", kit, "split", native_id))


def split_apps(folder: Path) -> Path:
    """Give the server an app of its own, which then brings no code."""
    server = folder / "app_server" / "config"
    server.mkdir(parents=True)
    (folder / "app" / "config" / "config_fed_server.json").rename(server / "config_fed_server.json")
    (folder / "app").rename(folder / "app_sites")
    meta = json.loads((folder / "meta.json").read_text())
    meta["deploy_map"] = {"app_server": ["server"], "app_sites": list(SITES)}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def returned(folder: Path, site: str) -> int:
    """Return how many log calls a site's script has seen return, as it wrote down."""
    path = folder / site
    return int(path.read_text()) if path.exists() else 0


def steps_of(folder: Path, site: str) -> list[int | None]:
    journal = Journal(folder / "journal.db")
    batches = [batch for batch in journal.read(0, limit_bytes=1 << 40) if batch.site == site]
    records = [decode(payload) for batch in batches for _, payload in frames.split(batch.body)]
    journal.close()
    return [record.step for record in records if isinstance(record, Metric)]


def test_environment_is_without_torch() -> None:
    assert find_spec("torch") is None


def test_everything_listens_on_loopback_only(hospitals: Hospitals) -> None:
    assert len(hospitals.pids()) >= 3
    assert hospitals.listening() == {"127.0.0.1"}


def test_from_the_command_line_to_results(sent: Sent, hospitals: Hospitals, engine: NVFlareEngine) -> None:
    assert fedtrack("runs", "wait", sent.honest).startswith("completed")
    # The lead of one hospital may not read the coordinator's files; the project's admin may.
    assert "runs fetch" in fedtrack("runs", "status", sent.honest)
    run = RunHandle.from_json(sent.honest.read_text())
    by_admin = RunHandle(run.engine, str(hospitals.admin_kit), run.run_id, run.native_id)
    assert engine.status(by_admin).events_complete is True
    results = sent.folder / "results"
    assert "all events arrived" in fedtrack("runs", "fetch", sent.honest, "-w", results)
    shown = fedtrack("runs", "show", results)
    assert "events: complete" in shown
    for site in SITES:
        assert steps_of(results / "server" / "simulate_job", site) == list(range(100))


def test_site_cannot_speak_for_another_one(sent: Sent, hospitals: Hospitals, engine: NVFlareEngine) -> None:
    assert engine.wait(sent.lying, 90).state is RunState.COMPLETED
    verdict = hospitals.production / "site-1" / "fedtrack" / "sites" / "site-1" / "verdict"
    assert verdict.read_text() == "rejected: a message from 'site-1' in the name of 'site-2'"
    result = engine.fetch(sent.lying, sent.folder / "lying")
    for site in SITES:
        assert steps_of(result.folder, site) == list(range(100))


def test_server_refuses_our_class_in_an_app_without_code(
    sent: Sent, hospitals: Hospitals, engine: NVFlareEngine
) -> None:
    # The control of the one app for all nodes: this server's list of classes is on, and ours is not in it.
    status = engine.wait(sent.refused, 90)
    assert (status.state, status.events_complete) == (RunState.FAILED, None)
    with pytest.raises(RunNotFound, match=r"fedtrack_nvflare\.collector\.Collector.*is not in allow_list"):
        engine.fetch(sent.refused, sent.folder / "refused")


def test_killed_site_and_aborted_run_are_drained(hospitals: Hospitals, engine: NVFlareEngine, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedtrack_nvflare.export.COLLECTOR", "faulty_collector.FullCollector")
        run = engine.submit(
            make_job(tmp_path, ENDLESS.replace("FOLDER", repr(str(tmp_path)))), str(hospitals.admin_kit)
        )
    deadline = time.monotonic() + 120
    while min(returned(tmp_path, site) for site in SITES) < 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed = hospitals.pids("python", "/site-1 ")
    signal_all(killed)  # the site as a whole: FLARE's client and the run's process; start.sh starts the client again
    assert engine.status(run).state is RunState.RUNNING
    # A second process watches and aborts: a handle is all it needs.
    fedtrack("runs", "abort", run.to_json())
    status = engine.wait(run, 60)
    assert (status.state, status.events_complete) == (RunState.ABORTED, False)
    assert "no goodbye of site-1, site-2" in status.detail
    partial = engine.fetch(run, tmp_path / "partial")
    assert "events: incomplete" in fedtrack("runs", "show", tmp_path / "partial")
    while hospitals.pids(run.native_id) or hospitals.joined("site-1") < 2:
        assert time.monotonic() < deadline + 60
        time.sleep(0.1)
    drained = engine.drain(run, 90)
    assert engine.status(drained).state is RunState.COMPLETED
    result = engine.fetch(run, tmp_path / "whole")
    assert (result.run_id, result.status, result.events_complete) == (run.run_id, "aborted", True)
    for site in SITES:
        steps = steps_of(result.folder, site)
        assert steps == list(range(len(steps)))
        assert 0 < partial.sites[site].journaled < returned(tmp_path, site) <= len(steps)
        assert not (hospitals.production / site / "fedtrack" / "sites" / site / run.run_id).exists()
    assert engine.status(run).events_complete is True


def test_check_names_missing_sites(hospitals: Hospitals, engine: NVFlareEngine, tmp_path: Path) -> None:
    problems = engine.check(make_job(tmp_path, SCRIPT, n_clients=3), str(hospitals.kit))
    assert [problem.message for problem in problems if problem.fatal] == [
        "The job needs 3 sites, connected are 2: ['site-1', 'site-2']."
    ]


@pytest.mark.parametrize(
    ("kit", "role"), [("org@hospital-a.example", "org_admin"), ("member@hospital-b.example", "member")]
)
def test_check_and_server_refuse_who_may_not_submit(
    hospitals: Hospitals, engine: NVFlareEngine, tmp_path: Path, kit: str, role: str
) -> None:
    target, job = str(hospitals.production / kit), make_job(tmp_path, SCRIPT)
    assert any(f"role is {role}" in problem.message for problem in engine.check(job, target) if problem.fatal)
    with pytest.raises(JobRejected, match="does not let this admin"):
        engine.submit(job, target)


def test_unknown_handle_of_a_known_run_id(hospitals: Hospitals, engine: NVFlareEngine) -> None:
    handle = RunHandle("nvflare", str(hospitals.kit), "nobody", "not a job id")
    with pytest.raises(Exception, match="job"):
        engine.status(handle)


def test_a_run_whose_server_was_killed_is_lost_and_a_drain_says_what_arrived(
    hospitals: Hospitals, engine: NVFlareEngine, tmp_path: Path
) -> None:
    job = make_job(tmp_path, ENDLESS.replace("FOLDER", repr(str(tmp_path))), receiver=True)
    run = engine.submit(job, str(hospitals.admin_kit))
    deadline = time.monotonic() + 240
    while min(returned(tmp_path, site) for site in SITES) < 100:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    signal_all(hospitals.pids("python", f"/{SERVER} "))  # with its job; its start.sh starts the server again
    while hospitals.pids(run.native_id) or not all(hospitals.came_back(site) for site in SITES):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    status = engine.wait(run, 90)
    assert (status.state, status.events_complete) == (RunState.LOST, None)
    assert "the server was killed or started again and runs no such job" in status.detail
    with pytest.raises(RunNotFound, match="left no results: FLARE calls it"):
        engine.fetch(run, tmp_path / "nothing")
    drained = engine.drain(run, 120)
    assert engine.status(drained).state is RunState.COMPLETED
    assert engine.wait(run, 60).events_complete is True
    engine.abort(run)
    engine.fetch(run, tmp_path / "whole")
    for site in SITES:
        steps = steps_of(tmp_path / "whole" / "server" / "simulate_job", site)
        assert steps == list(range(len(steps)))
        assert returned(tmp_path, site) <= len(steps)
    # The job came with the run, and with it its receivers.
    replayed = fedtrack("runs", "replay", tmp_path / "whole")
    assert "receiver: 0 events delivered now" in replayed
    assert fedtrack("runs", "verify", tmp_path / "whole").endswith("Everything is there.\n")
