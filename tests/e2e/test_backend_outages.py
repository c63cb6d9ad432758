"""Real backends that are down, die and come back during a job: nothing is lost, nothing doubled, nothing is slower."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.runs.replay import replay
from fedtrack.runs.result import RunResult
from fedtrack.runs.stored_run import find_run
from fedtrack_local.processes.descendants import descendants
from fedtrack_mlflow import MLflowReceiver
from fedtrack_tensorboard import TBAnalyticsReceiver
from fedtrack_wandb import WandBReceiver
from support.mlflow_server import MLflowServer

from ..plugins.wandb.wandb_server import WandBServer  # noqa: TID252 - tests are no package to name
from .conftest import SCRIPTS, make_job
from .stores import read_mlflow, read_tensorboard

#: An mlflow server takes up to a minute to start on a busy machine, and this starts one twice.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("outages")]

SITES = ("site-1", "site-2")
BACKENDS = ("mlflow", "wandb", "tensorboard")


@dataclass
class Backends:
    """Where the jobs' records go."""

    mlflow: MLflowServer
    wandb: WandBServer

    def receivers(self) -> dict[str, MLflowReceiver | WandBReceiver | TBAnalyticsReceiver]:
        return {
            "mlflow": MLflowReceiver(self.mlflow.uri),
            "wandb": WandBReceiver({"project": "p"}, mode="online", process_timeout=60.0),
            "tensorboard": TBAnalyticsReceiver(),
        }

    def points(self, name: str, result: RunResult) -> dict[str, list[tuple[int, float]]]:
        """Return every point of "loss" that a backend holds, by site."""
        if name == "mlflow":
            stored = read_mlflow(self.mlflow.database, result.job_name)
            return {site: sorted(stored[site].metrics["loss"]) for site in SITES}
        if name == "tensorboard":
            stored = read_tensorboard(result.folder / "tb_events")
            return {site: sorted(stored[site].metrics["loss"]) for site in SITES}
        rows = {site: self.wandb.runs[f"{result.run_id}-{site}"].rows for site in SITES}
        return {site: sorted((r["global_step"], r["loss"]) for r in rows[site] if "loss" in r) for site in SITES}


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Backends of which none works yet."""
    home = tmp_path_factory.mktemp("home")
    found = Backends(MLflowServer(tmp_path_factory.mktemp("mlflow")), WandBServer())
    found.wandb.failing = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for kind in ("CONFIG", "CACHE", "DATA", "ARTIFACT"):
            patch.setenv(f"WANDB_{kind}_DIR", str(home / kind.lower()))
        patch.setenv("WANDB_BASE_URL", found.wandb.url)
        patch.setenv("WANDB_API_KEY", "k" * 40)
        patch.setenv("WANDB_INIT_TIMEOUT", "2")
        yield found
    found.mlflow.kill()
    found.wandb.stop()


@dataclass
class Ended:
    """A run, what its summary page said, and what the user was told meanwhile."""

    result: RunResult
    page: str
    said: list[str]


def run(job: FedAvgJob, workspace: Path) -> Ended:
    handler = _Lines()
    logging.getLogger("fedtrack").addHandler(handler)
    page = StringIO()
    try:
        with redirect_stdout(page):
            result = job.simulator_run(workspace)
    finally:
        logging.getLogger("fedtrack").removeHandler(handler)
    return Ended(result, page.getvalue(), handler.lines)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def never_up(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A job whose backends are not there until it is over."""
    workspace = tmp_path_factory.mktemp("never") / "ws"
    job = make_job("log_steps.py", analytics_receiver=False)
    for id_, receiver in backends.receivers().items():
        job.to_server(receiver, id=id_)
    blocked = tmp_path_factory.mktemp("blocked") / "tb_events"
    job.placed["server"]["tensorboard"] = TBAnalyticsReceiver(str(blocked / "below"))
    blocked.write_text("a file where a folder has to be")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedtrack_local.course.STALL_SECONDS", 3.0)
        return run(job, workspace)


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_that_is_never_there_costs_the_job_nothing_and_is_named(never_up: Ended, name: str) -> None:
    result = never_up.result
    receiver = result.receivers[name]
    everything = 80 + result.sites["server"].journaled
    assert (result.status, receiver.delivered, receiver.pending) == ("completed", 0, everything)
    at_the_time = [line for line in never_up.said if line.startswith(f"{name}:") and "wait in the journal" in line]
    assert len(at_the_time) == 1, never_up.said
    (line,) = [line for line in never_up.page.splitlines() if line.startswith(f"Pending:     {name}:")]
    assert f"{everything} events are not delivered, but kept in the journal" in line
    assert f"fedtrack runs replay {result.run}" in never_up.page


def test_replay_delivers_everything_once_the_backends_are_there(backends: Backends, never_up: Ended) -> None:
    result = never_up.result
    blocked = Path(result.receivers["tensorboard"].error.split("'")[1])
    while not blocked.exists():
        blocked = blocked.parent
    blocked.unlink()
    backends.wandb.failing = False
    backends.mlflow.start()
    done = subprocess.run(
        [sys.executable, "-m", "fedtrack", "runs", "replay", str(result.workspace)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(replay(find_run(result.workspace)).new.values()) == {0}  # twice is as good as once
    expected = {site: [(step, 1 / 2 ** (step % 8)) for step in range(40)] for site in SITES}
    assert backends.points("mlflow", result) == expected
    assert backends.points("wandb", result) == expected
    stored = read_tensorboard(blocked / "below")
    assert {site: stored[site].metrics["loss"] for site in SITES} == expected
    updated = RunResult.load(result.folder / "run_summary.json")
    assert {(r.pending, r.dead, r.error) for r in updated.receivers.values()} == {(0, 0, "")}


@pytest.fixture(scope="module")
def outage(
    backends: Backends, never_up: Ended, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ended, dict[str, int], Path]:
    """A job in whose middle every backend fails: in mid-batch, for some seconds. The job logs on meanwhile."""
    del never_up  # it has to be over
    workspace, signals = tmp_path_factory.mktemp("outage") / "ws", tmp_path_factory.mktemp("signals")
    if not backends.mlflow.database.exists():
        backends.mlflow.start()
    backends.wandb.failing = False
    job = FedAvgJob({"w": np.zeros(3, np.float32)}, n_clients=2, num_rounds=1, name="outage", analytics_receiver=False)
    job.to_clients(ScriptRunner(str(SCRIPTS / "log_through_outage.py"), str(signals), framework="numpy"))
    for id_, receiver in backends.receivers().items():
        job.to_server(receiver, id=id_)
    director = Director(backends, workspace, signals)
    director.start()
    ended = run(job, workspace)
    director.join()
    assert director.error is None, director.error
    return ended, director.stored, signals


class Director(threading.Thread):
    """Lets the backends fail in the middle of a job, and come back.

    Attributes:
        stored: How many points each backend had when it failed.
        error: What went wrong here.
    """

    def __init__(self, backends: Backends, workspace: Path, signals: Path) -> None:
        super().__init__(name="director")
        self.stored: dict[str, int] = {}
        self.error: BaseException | None = None
        self._backends = backends
        self._signals = signals
        self._events = workspace / "server" / "simulate_job" / "tb_events"

    def run(self) -> None:
        try:
            self._direct()
        except BaseException as error:
            self.error = error
        finally:
            for name in ("down", "up"):
                (self._signals / name).touch()

    def _direct(self) -> None:
        wait_until(lambda: self._mlflow_points() > 0 and self._events.is_dir() and bool(core_pids()))
        self.stored["mlflow"] = self._mlflow_points()
        self._backends.mlflow.kill()
        self._backends.wandb.resetting = True
        kill_wandb_core()
        away = self._events.with_name("away")
        self._events.rename(away)
        self._events.write_text("a file where a folder has to be")
        (self._signals / "down").touch()
        wait_until(lambda: all((self._signals / f"logged-{site}").exists() for site in SITES))
        time.sleep(2)
        self._backends.wandb.resetting, self._backends.wandb.failing = False, True
        self._backends.mlflow.start()
        self._events.unlink()
        away.rename(self._events)
        self._backends.wandb.failing = False
        (self._signals / "up").touch()

    def _mlflow_points(self) -> int:
        stored = read_mlflow(self._backends.mlflow.database, "outage")
        return sum(found.points for found in stored.values())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within two minutes"
        time.sleep(0.02)


def core_pids() -> list[int]:
    """Return W&B's own processes, which the deliverers of this process have started."""
    found = []
    for pid in descendants(os.getpid()):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith("wandb-core"):
                found.append(pid)
    return found


def kill_wandb_core() -> None:
    for pid in core_pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", BACKENDS)
def test_outage_in_mid_job_loses_nothing_and_doubles_nothing(
    backends: Backends, outage: tuple[Ended, dict[str, int], Path], name: str
) -> None:
    ended, stored, _ = outage
    assert 0 < stored["mlflow"] < 6000, "it died before or after everything else"
    assert backends.points(name, ended.result) == {
        site: [(step, 1 / 2 ** (step % 8)) for step in range(7000)] for site in SITES
    }
    receiver = ended.result.receivers[name]
    assert (receiver.pending, receiver.dead, receiver.error) == (0, 0, "")
    assert receiver.outage_seconds > 1


@pytest.mark.parametrize("name", BACKENDS)
def test_outage_is_one_line_at_the_time_one_at_its_end_and_one_in_the_summary(
    outage: tuple[Ended, dict[str, int], Path], name: str
) -> None:
    ended, _, _ = outage
    lines = [line for line in ended.said if line.startswith(f"{name}:")]
    began = [line for line in lines if "its records wait in the journal" in line]
    assert 1 <= len(began) <= 2, ended.said  # a second one if it failed once more while it came back
    assert len(lines) == 2 * len(began), lines
    assert "works again after" in lines[-1], (lines, ended.result.receivers[name])
    (line,) = [line for line in ended.page.splitlines() if line.startswith(f"Outage:      {name}:")]
    assert "took nothing for" in line


def test_log_calls_do_not_notice_an_outage(outage: tuple[Ended, dict[str, int], Path]) -> None:
    """The typical call; the extreme ones are the machine's and belong to benchmarks."""
    for site in SITES:
        times = json.loads((outage[2] / f"times-{site}.json").read_text())
        assert median(times["outage"]) < 3 * median(times["healthy"])
