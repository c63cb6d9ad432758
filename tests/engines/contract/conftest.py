"""The engines under test, used only through the protocol, and the jobs that all of them run."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedtrack.engine import Engine, RunHandle, RunStatus
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.journal.journal import Journal
from fedtrack.plugins import registry
from fedtrack.runs.result import RunResult
from fedtrack.spool import frames
from fedtrack.tracking.records import AnyRecord, decode, is_control

#: FLARE lives in an environment of its own, where the other engine need not be tested again.
ENGINES = ["local"] if find_spec("nvflare") is None else ["simulator", "poc"]

FAULTS = Path(__file__).parents[2] / "support" / "nvflare_faults"
SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Site:
    """An engine and a target to run on.

    Attributes:
        name: The parameter's name.
        engine: The engine.
        target: A fresh target, or the same system every time.
        troubled: Starts to trouble a run that was just submitted, where that is not built into the target.
    """

    name: str
    engine: Engine
    target: Callable[[], str]
    troubled: Callable[[RunHandle], None]


@dataclass(frozen=True)
class Started:
    """A run that was submitted, and where its results will go."""

    site: Site
    handle: RunHandle
    dest: Path


@dataclass(frozen=True)
class Ended:
    """A run that is over, and what its journal holds by site: (stream, number, record), in the journal's order."""

    handle: RunHandle
    status: RunStatus
    result: RunResult
    events: dict[str, list[tuple[str, int, AnyRecord]]]


def lock_journal(handle: RunHandle) -> None:
    """Keep the local journal locked for a second from another connection, as soon as it is there."""
    path = Path(handle.target) / "server" / "simulate_job" / "journal.db"

    def work() -> None:
        deadline = time.monotonic() + 30
        while not path.exists() or not path.stat().st_size:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(1.0)
        connection.execute("ROLLBACK")
        connection.close()

    threading.Thread(target=work, daemon=True).start()


@pytest.fixture(scope="session", params=ENGINES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One engine after the other."""
    name = request.param
    engine = registry().engine("local" if name == "local" else "nvflare")()
    fresh = lambda: str(tmp_path_factory.mktemp(name))  # noqa: E731
    if name == "local":
        yield Site(name, engine, fresh, lock_journal)
    elif name == "simulator":
        yield Site(name, engine, lambda: f"simulator:{fresh()}", lambda handle: None)
    else:
        poc = request.getfixturevalue("poc")
        yield Site(name, engine, lambda: str(poc.kit), lambda handle: None)
    engine.close()


@pytest.fixture(scope="session")
def started(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Started]:
    """Every job of the contract, all running at the same time: most of a run on FLARE is waiting."""
    folder = tmp_path_factory.mktemp("contract")
    jobs = {
        "crash": export(folder / "crash", (SCRIPTS / "crash.py").read_text(), external=True),
        "delivery": export(folder / "delivery", (SCRIPTS / "delivery.py").read_text()),
        "functions": export(folder / "functions", (SCRIPTS / "functions.py").read_text()),
    }
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        if site.name != "local":
            patch.setattr("fedtrack_nvflare.export.COLLECTOR", "faulty_collector.FaultyCollector")
            patch.setenv("PYTHONPATH", str(FAULTS))
        for name, job in jobs.items():
            handle = site.engine.submit(job, site.target())
            site.troubled(handle)
            found[name] = Started(site, handle, folder / name / "results")
    return found


def export(folder: Path, script: str, *, external: bool = False) -> Path:
    """Export a job of two sites and two rounds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client.py").write_text(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        model = {"w": np.zeros((2, 3), np.float32)}
        job = FedAvgJob(model, n_clients=2, num_rounds=2, name="contract")
        job.to_clients(ScriptRunner("client.py", framework="numpy", launch_external_process=external))
        return job.export_job(folder / "jobs")


def wait(run: Started) -> Ended:
    """Wait for a run's end and fetch its results."""
    status = run.site.engine.wait(run.handle, 150)
    result = run.site.engine.fetch(run.handle, run.dest)
    return Ended(run.handle, status, result, events_of(result))


def events_of(result: RunResult) -> dict[str, list[tuple[str, int, AnyRecord]]]:
    journal = Journal(result.folder / "journal.db")
    found: dict[str, list[tuple[str, int, AnyRecord]]] = {}
    for batch in journal.read(0, limit_bytes=1 << 40):
        for seq, payload in frames.split(batch.body):
            if not is_control(payload):
                found.setdefault(batch.site, []).append((batch.stream, seq, decode(payload)))
    journal.close()
    return found
