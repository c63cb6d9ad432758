"""Jobs whose sites are functions in a few processes: same results as scripts, nothing lost, failures contained."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import numpy as np
import pytest

from fedtrack.engines.local.inventory import take_inventory
from fedtrack.engines.local.replay import replay
from fedtrack.engines.local.stored_run import StoredRun
from fedtrack.engines.local.verify import verify
from fedtrack.errors import ConfigError, JobError
from fedtrack.federated.params import load_params
from fedtrack.job import ClientAppRunner, CrossSiteEval, FedAvgJob, IntimeModelSelector, ScriptRunner
from fedtrack.job.run_result import RunResult
from fedtrack.tracking.hosted_spool import HostedSpool
from fedtrack.tracking.records import Metric
from fedtrack_tensorboard.receiver import TBAnalyticsReceiver

APP = """
import os, signal, sys, time
import numpy as np
import fedtrack.client as flare
from fedtrack.client import ClientApp, FLModel, MetaKey
from fedtrack.tracking.writer import Writer

app = ClientApp()

@app.train
def train(model, site):
    writer = Writer()
    writer.record_metric("index", float(site.index), model.current_round)
    TRAIN
    steps = 1 + site.index % 3
    return FLModel(
        params={"w": model.params["w"] + np.float32(site.index + 1), "n": model.params["n"] + 1},
        metrics={"index": site.index},
        meta={MetaKey.NUM_STEPS_CURRENT_ROUND: steps},
    )

@app.evaluate
def evaluate(model, site):
    return {"mean": float(model.params["w"].mean())}

if __name__ == "__main__":
    app.run(args={"rate": 0.5})
"""

MakeJob = Callable[..., FedAvgJob]


@pytest.fixture
def make_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """Return a builder of jobs whose sites run ``train`` (Python, at the place of TRAIN) in every round."""
    monkeypatch.chdir(tmp_path)

    def make(train: str = "pass", *, runner: Any = None, app: str = APP, **kwargs: Any) -> FedAvgJob:
        Path("client.py").write_text(app.replace("    TRAIN", indent(dedent(train).strip(), "    ")))
        initial = {"w": np.zeros((2, 3), np.float32), "n": np.zeros((), np.int64)}
        settings = {"n_clients": 7, "num_rounds": 2, "analytics_receiver": False, "key_metric": ""} | kwargs
        job = FedAvgJob(initial_model=initial, name="test-job", **settings)
        args = {"rate": 0.5}
        job.to_clients(runner or ClientAppRunner("client.py", framework="numpy", workers=2, args=args))
        return job

    return make


def model_of(workspace: Path) -> dict[str, Any]:
    return load_params(workspace / "server" / "simulate_job" / "app_server" / "FL_global_model.safetensors")


def journal_of(workspace: Path) -> dict[str, int]:
    with sqlite3.connect(workspace / "server" / "simulate_job" / "journal.db") as connection:
        rows = connection.execute("SELECT site, sum(n) FROM batch GROUP BY site").fetchall()
    connection.close()
    return dict(rows)


def summary_of(workspace: Path) -> RunResult:
    return RunResult.load(workspace / "server" / "simulate_job" / "run_summary.json")


def test_results_are_those_of_scripts(make_job: MakeJob, tmp_path: Path) -> None:
    train = 'writer.record_metric("rate", site.args["rate"], None)'
    app = make_job(train, evaluate_final_model=True).simulator_run(tmp_path / "app")
    runner = ScriptRunner("client.py", framework="numpy")
    script = make_job(train, runner=runner, evaluate_final_model=True).simulator_run(tmp_path / "script")
    expected, found = model_of(tmp_path / "script"), model_of(tmp_path / "app")
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6)
    assert found["n"] == 2
    assert app.final_metrics == pytest.approx(script.final_metrics)
    assert [r.sites for r in app.rounds] == [r.sites for r in script.rounds]
    assert [r.metrics for r in app.rounds] == [pytest.approx(r.metrics) for r in script.rounds]
    assert journal_of(tmp_path / "app") == journal_of(tmp_path / "script")
    for name, site in script.sites.items():
        assert (app.sites[name].logged, app.sites[name].journaled) == (site.logged, site.journaled), name


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bits(make_job: MakeJob, tmp_path: Path, workers: int) -> None:
    train = """
    model.params["w"] += np.random.normal(size=(2, 3))
    """
    two = make_job(train, n_clients=150)
    two.simulator_run(tmp_path / "two")
    runner = ClientAppRunner("client.py", framework="numpy", workers=workers)
    make_job(train, n_clients=150, runner=runner).simulator_run(tmp_path / "other")
    expected, found = model_of(tmp_path / "two"), model_of(tmp_path / "other")
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


def test_every_site_s_metrics_arrive_under_its_own_name(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(n_clients=100, num_rounds=3)
    result = job.simulator_run(tmp_path / "ws")
    stored = StoredRun(tmp_path / "ws")
    with stored.journal() as journal:
        counts = journal.counts()
    assert counts.pop("server") > 0
    assert counts == {f"site-{number}": 3 for number in range(1, 101)}
    assert all(result.sites[name].logged == 3 for name in counts)
    assert result.events_complete
    assert take_inventory(stored).complete
    assert not [check for check in verify(stored) if check.problem]
    assert not list((tmp_path / "ws").glob("site-*"))  # no folder for each of thousands


def test_state_is_each_site_s_own_whoever_works_for_it(make_job: MakeJob, tmp_path: Path) -> None:
    train = """
    state = site.state
    assert state.get("name", site.name) == site.name
    state["name"], state["rounds"] = site.name, state.get("rounds", 0) + 1
    state["sum"] = state.get("sum", np.zeros(2)) + site.index
    assert state["rounds"] == model.current_round + 1, state
    assert state["sum"].tolist() == [site.index * state["rounds"]] * 2
    """
    result = make_job(train, n_clients=40, num_rounds=3).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [40, 40, 40]


def test_sites_cannot_see_each_other_s_changes_of_the_model(make_job: MakeJob, tmp_path: Path) -> None:
    train = """
    seen = float(model.params["w"][0, 0])
    assert (model.params["w"] == seen).all() and model.params["n"] == model.current_round
    model.params["w"][...], model.params["n"][...] = 1000, 77
    model.params = {"w": np.full((2, 3), seen, np.float32), "n": np.array(model.current_round)}
    """
    make_job(train, n_clients=20).simulator_run(tmp_path / "ws")
    assert model_of(tmp_path / "ws")["n"] == 2


@pytest.mark.parametrize("fraction", [0.1, 0.001])
def test_fraction_of_the_sites_takes_part(make_job: MakeJob, tmp_path: Path, fraction: float) -> None:
    result = make_job(n_clients=60, num_rounds=3, fraction=fraction).simulator_run(tmp_path / "ws")
    samples = [tuple(r.sites) for r in result.rounds]
    assert {len(sites) for sites in samples} == {max(1, round(60 * fraction))}
    assert len(set(samples)) > 1
    again = make_job(n_clients=60, num_rounds=3, fraction=fraction).simulator_run(tmp_path / "again")
    assert [tuple(r.sites) for r in again.rounds] == samples


def test_function_that_raises_fails_its_site_alone(make_job: MakeJob, tmp_path: Path) -> None:
    train = "if site.name in ('site-3', 'site-90'): raise ValueError(f'no data at {site.name}')"
    result = make_job(train, n_clients=100, min_clients=90).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [98, 98]
    assert "ValueError: no data at site-90" in result.sites["site-90"].error
    assert (result.sites["site-90"].logged, result.sites["site-90"].journaled) == (1, 1)
    weights = [1 + index % 3 for index in range(100) if index not in (2, 89)]
    values = [index + 1 for index in range(100) if index not in (2, 89)]
    np.testing.assert_allclose(model_of(tmp_path / "ws")["w"], 2 * np.average(values, weights=weights), rtol=1e-5)


def test_job_that_needs_all_sites_fails_with_the_traceback(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="site-3: the ClientApp raised ValueError: no data") as caught:
        make_job("if site.index == 2: raise ValueError('no data')").simulator_run(tmp_path / "ws")
    assert "client.py" in caught.value.details


def test_worker_that_is_killed_is_replaced_and_its_group_done_again(make_job: MakeJob, tmp_path: Path) -> None:
    train = f"""
    site.state["tasks"] = site.state.get("tasks", 0) + 1
    assert site.state["tasks"] == model.current_round + 1  # also in the second attempt
    if site.name == "site-50" and not os.path.exists({str(tmp_path / "once")!r}):
        open({str(tmp_path / "once")!r}, "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    result = make_job(train, n_clients=70).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [70, 70]
    assert model_of(tmp_path / "ws")["n"] == 2
    # The attempt that was killed had logged: those calls had returned.
    group = [name for name, site in result.sites.items() if site.journaled == 3]
    assert "site-50" in group
    assert result.events_complete
    assert all(site.logged == site.journaled for site in result.sites.values())
    assert not [check for check in verify(StoredRun(tmp_path / "ws")) if check.problem]


def test_site_that_kills_its_workers_fails_and_the_others_go_on(make_job: MakeJob, tmp_path: Path) -> None:
    train = "if site.name == 'site-9': os._exit(3)"
    result = make_job(train, n_clients=40, min_clients=30).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [39, 39]
    assert "2 workers died while they were at it" in result.sites["site-9"].error
    assert "status 3" in result.sites["site-9"].error
    assert result.events_complete


def test_site_that_takes_too_long_fails_and_the_others_go_on(make_job: MakeJob, tmp_path: Path) -> None:
    train = "time.sleep(3600) if site.name == 'site-2' else None"
    result = make_job(train, n_clients=5, min_clients=4, task_timeout=1.0).simulator_run(tmp_path / "ws")
    assert result.rounds[1].sites == ["site-1", "site-3", "site-4", "site-5"]
    assert "did not answer the task 'train' within 1 s" in result.sites["site-2"].error


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        ("app = 3", "'app' is a int; it must be a fedtrack.client.ClientApp"),
        ("", "'app' has no such name"),
    ],
)
def test_app_that_cannot_be_loaded_fails_the_job_at_once(
    make_job: MakeJob, tmp_path: Path, app: str, reason: str
) -> None:
    with pytest.raises(JobError, match=reason):
        make_job(app=app).simulator_run(tmp_path / "ws")


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ("return {'w': 1}", "returned a dict; it must return an FLModel"),
        ("return FLModel(metrics={'a': 1.0})", "has no params"),
        ("return FLModel(params={'w': model.params['w']})", "site-1: the result lacks 'n'"),
        ("return FLModel(params={'w': model.params['w'] * np.nan, 'n': model.params['n']})", "holds nan"),
        ("return FLModel(params=model.params, meta={'NUM_STEPS_CURRENT_ROUND': 0})", "is 0; a weight"),
        ("return FLModel(params=model.params, meta={'x': object()})", "meta cannot be sent"),
        ("return FLModel(params=model.params, meta={'x': 'y' * 20_000})", "a site can send 8,192"),
        ("site.state['x'] = object()", "site.state .* cannot be kept"),
        ("flare.receive()", r"receive\(\) was called in a ClientApp"),
        ("sys.exit(5)", "SystemExit: 5"),
    ],
)
def test_what_a_function_must_not_do_is_named(make_job: MakeJob, tmp_path: Path, train: str, reason: str) -> None:
    with pytest.raises(JobError, match=reason):
        make_job(train, n_clients=1).simulator_run(tmp_path / "ws")


def test_job_killed_between_rounds_is_resumed_with_its_states(make_job: MakeJob, tmp_path: Path) -> None:
    train = """
    site.state["tasks"] = site.state.get("tasks", 0) + 1
    assert site.state["tasks"] == model.current_round + 1, (site.state, model.current_round)
    time.sleep(0.01)
    """
    job = make_job(train, n_clients=40, num_rounds=6)
    folder = job.export_job(tmp_path / "jobs")
    command = [sys.executable, "-m", "fedtrack", "run", str(folder), "-w", str(tmp_path / "ws")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rounds = tmp_path / "ws" / "server" / "simulate_job" / "rounds.msgpack"
    while not rounds.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)  # into the next round
    process.send_signal(signal.SIGKILL)
    process.wait()
    command = [sys.executable, "-m", "fedtrack", "run", "--resume", str(tmp_path / "ws")]
    subprocess.run(command, check=True, capture_output=True)
    result = summary_of(tmp_path / "ws")
    assert [r.current_round for r in result.rounds] == list(range(6))
    assert model_of(tmp_path / "ws")["n"] == 6
    assert result.events_complete
    assert all(site.journaled >= 6 for site in result.sites.values())
    assert not [check for check in verify(StoredRun(tmp_path / "ws")) if check.problem]


def test_what_killed_workers_left_is_delivered_by_a_replay(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("time.sleep(0.001)", n_clients=40, num_rounds=2)
    job.simulator_run(tmp_path / "ws")
    stored = StoredRun(tmp_path / "ws")
    spool = HostedSpool(stored.workers / "worker-9" / "spool")
    for number in range(5):
        spool.enter("site-7")
        spool.append(Metric(1, "late", float(number)))
    spool.close()
    inventory = take_inventory(stored)
    assert inventory.sites["@worker-9"].in_spool == 5
    assert not inventory.complete
    done = replay(stored)
    assert done.journaled["site-7"] == 2 + 5
    assert take_inventory(stored).sites["site-7"].journaled == 7


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda job: job.to(TBAnalyticsReceiver(), "site-1"), "treats all sites alike"),
        (lambda job: job.to_clients(TBAnalyticsReceiver()), "receivers run on the server"),
        (lambda job: job.to_server(CrossSiteEval()), "asks every site for a model of its own"),
        (lambda job: setattr(job, "initial_model", None), "has no initial model"),
    ],
)
def test_what_such_jobs_cannot_do_is_refused_before_anything_starts(
    make_job: MakeJob, tmp_path: Path, change: Callable[[FedAvgJob], object], reason: str
) -> None:
    job = make_job()
    change(job)
    with pytest.raises(ConfigError, match=reason):
        job.simulator_run(tmp_path / "ws")


def test_job_show_prints_thousands_of_sites_in_three_lines(make_job: MakeJob, tmp_path: Path) -> None:
    folder = make_job(n_clients=2000).export_job(tmp_path / "jobs")
    assert sorted(path.name for path in folder.iterdir()) == ["app_server", "app_sites", "meta.json"]
    shown = subprocess.run(
        [sys.executable, "-m", "fedtrack", "job", "show", str(folder)], check=True, capture_output=True, text=True
    ).stdout
    assert "2000 sites, in processes that they share: site-1 to site-2000" in shown
    assert "ClientAppRunner script='client.py'" in shown
    assert len(shown.splitlines()) < 10


def test_arguments_are_checked() -> None:
    with pytest.raises(ConfigError, match="workers is 0"):
        ClientAppRunner("client.py", workers=0)
    with pytest.raises(ConfigError, match="app is 'a b'"):
        ClientAppRunner("client.py", app="a b")


def test_best_model_is_kept(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("model.params['w'] += model.current_round", num_rounds=3, key_metric="index")
    result = job.simulator_run(tmp_path / "ws")
    assert result.best_round is not None
    assert any(isinstance(item, IntimeModelSelector) for item in job.placed["server"].values())
