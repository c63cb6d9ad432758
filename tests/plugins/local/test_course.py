"""Workflows in a row go on from each other, and a run that was killed at any instant ends as if it had not been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from fedtrack.job import CrossSiteEval, FedAvg, FedAvgJob, ScriptRunner
from fedtrack.journal.journal import Journal
from fedtrack.plugins import registry
from fedtrack.runs.result import RunResult
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, decode
from fedtrack_local.models.params import load_params

from .conftest import MakeJob

#: Its arithmetic rounds, so that another order of the same steps would end with other bits. A site keeps its last model
#: in a file, as scripts do that survive a restart.
CLIENT = """
import numpy as np
import fedtrack.client as flare
from fedtrack import Writer

flare.init()
writer, site, seen = Writer(), flare.get_site_name(), FOLDER + "/" + flare.get_site_name()
while flare.is_running():
    model = flare.receive()
    if flare.is_submit_model():
        flare.send(flare.FLModel(params={"w": np.load(seen + ".npy")}))
        continue
    accuracy = float(np.sin(model.params["w"].sum() * int(site[-1])))
    writer.record_metric("accuracy", accuracy, model.current_round)
    if flare.is_evaluate():
        flare.send(flare.FLModel(metrics={"accuracy": accuracy}))
        continue
    with open(seen + ".rounds", "a") as file:
        print(model.start_round, model.current_round, model.total_rounds, file=file)
    noise = np.random.default_rng([int(site[-1]), model.current_round]).standard_normal(5).astype(np.float32)
    trained = model.params["w"] * np.float32(0.7) + noise
    np.save(seen + ".npy", trained)
    flare.send(flare.FLModel(params={"w": trained}, metrics={"accuracy": accuracy},
                             meta={"NUM_STEPS_CURRENT_ROUND": int(site[-1])}))
"""

#: Runs the job, and kills the server before the change of files with the given number.
DRIVER = """
import os, signal, sys, threading
from pathlib import Path
from fedtrack.plugins import registry

job, workspace, instant = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
main, seen = threading.main_thread(), 0

def count(event, arguments):
    global seen
    if event != "os.rename" or threading.current_thread() is not main or "server" not in str(arguments[1]):
        return
    seen += 1
    if seen == instant:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
registry().engine("local")().run(job, workspace)
print(seen)
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exported job that trains, evaluates, trains on and evaluates again."""
    monkeypatch.chdir(tmp_path)
    Path("client.py").write_text(CLIENT.replace("FOLDER", repr(str(tmp_path))))
    start = {"w": np.linspace(-1, 1, 5, dtype=np.float32)}
    made = FedAvgJob(start, name="row", n_clients=2, num_rounds=2, analytics_receiver=False, evaluate_final_model=True)
    made.to_server(CrossSiteEval())
    made.to_server(FedAvg(num_rounds=2, start_round=2))
    made.to_server(CrossSiteEval())
    made.to_clients(ScriptRunner("client.py", framework="numpy"))
    return made.export_job(tmp_path / "jobs")


def play(job: Path, workspace: Path, instant: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DRIVER, str(job), str(workspace), str(instant)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def ending(workspace: Path) -> dict[str, Any]:
    """Return all that a run leaves behind, except durations: models, results, and the server's own metrics."""
    folder = workspace / "server" / "simulate_job"
    result = RunResult.load(folder / "run_summary.json")
    models = folder.rglob("*.safetensors")
    journal = Journal(folder / "journal.db", read_only=True)
    records = [
        decode(payload)
        for batch in journal.read(0)
        if batch.site == "server"
        for _, payload in frames.split(batch.body)
    ]
    journal.close()
    return {
        "status": result.status,
        "models": {
            str(path.relative_to(folder)): {name: array.tobytes() for name, array in load_params(path).items()}
            for path in models
            if "exchange" not in path.parts
        },
        "rounds": [(r.current_round, r.metrics, r.sites, r.bytes, r.steps) for r in result.rounds],
        "best": result.best_round,
        "final": result.final_metrics,
        "tables": result.cross_site_tables,
        "files": {path.name: json.loads(path.read_text()) for path in (folder / "cross_site_val").glob("*.json")},
        "metrics": {(r.key, r.step, r.value) for r in records if isinstance(r, Metric) and "seconds" not in r.key},
    }


def check_killed(job: Path, folder: Path, instants: list[int]) -> None:
    """Kill a run at each of the instants, resume it, and compare its end with that of an uninterrupted one."""
    whole = ending(folder / "whole")
    for instant in instants:
        workspace = folder / f"killed-{instant}"
        assert play(job, workspace, instant).returncode == -signal.SIGKILL
        if (workspace / "server" / "simulate_job" / "run.json").exists():
            registry().engine("local")().resume(workspace)
        else:  # it was killed before it began
            registry().engine("local")().run(job, workspace)
        assert ending(workspace) == whole, f"killed before change {instant}"


def number_of_changes(job: Path, folder: Path) -> int:
    done = play(job, folder / "whole", -1)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def test_a_run_that_was_killed_ends_with_the_same_bits(job: Path, tmp_path: Path) -> None:
    changes = number_of_changes(job, tmp_path)
    check_killed(job, tmp_path, [changes // 3, changes // 2, changes - 2])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_was_killed_at_any_of_20_instants_ends_with_the_same_bits(job: Path, tmp_path: Path) -> None:
    changes = number_of_changes(job, tmp_path)
    seed = int(os.environ.get("FEDTRACK_SEED", "15"))
    check_killed(job, tmp_path, sorted(random.Random(seed).sample(range(1, changes + 1), min(20, changes))))


def test_rounds_are_counted_over_the_job_and_each_evaluation_keeps_its_table(job: Path, tmp_path: Path) -> None:
    assert number_of_changes(job, tmp_path) > 20
    for site in ("site-1", "site-2"):
        told = [line.split() for line in (tmp_path / f"{site}.rounds").read_text().splitlines()]
        assert told == [["0", "0", "2"], ["0", "1", "2"], ["2", "2", "4"], ["2", "3", "4"]]
    found = ending(tmp_path / "whole")
    assert [row[0] for row in found["rounds"]] == [0, 1, 2, 3]
    first, second = found["tables"]["controller_1"], found["tables"]["controller_3"]
    assert first["site-1"].keys() == second["site-1"].keys()
    assert first != second
    assert found["files"] == {
        "cross_val_results-controller_1.json": first,
        "cross_val_results-controller_3.json": second,
        "cross_val_results.json": second,
    }
    models = {path for path in found["models"] if path.startswith("cross_site_val/")}
    assert models == {
        f"cross_site_val/{folder}/{site}.safetensors"
        for folder in ("models", "models-controller_3")
        for site in ("site-1", "site-2")
    }


@pytest.mark.parametrize("start_round", [0, 3, 7])
def test_a_second_training_goes_on_from_the_first(make_job: MakeJob, tmp_path: Path, start_round: int) -> None:
    job = make_job(num_rounds=3)
    job.to_server(FedAvg(num_rounds=3, start_round=start_round))
    result = job.simulator_run(tmp_path / "ws")
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 3), 6.0, np.float32))
    begin = max(3, start_round)
    assert [r.current_round for r in result.rounds] == [0, 1, 2, begin, begin + 1, begin + 2]


def test_a_second_training_of_virtual_sites_goes_on_too(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = dedent(
        """
        assert model.start_round == 2 * (model.current_round // 2), model
        assert model.total_rounds == model.start_round + 2, model
        """
    )
    job = make_virtual_job(train, num_rounds=2)
    job.to_server(FedAvg(num_rounds=2))
    result = job.simulator_run(tmp_path / "ws")
    assert [r.current_round for r in result.rounds] == [0, 1, 2, 3]


def test_final_metrics_are_those_of_the_last_model(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(num_rounds=1, evaluate_final_model=True)
    job.to_server(FedAvg(num_rounds=1))
    assert job.simulator_run(tmp_path / "ws").final_metrics == {}
