"""Jobs whose sites are functions in a few processes: results as with scripts, and each metric under its site's name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import ConfigError
from fedtrack.job import ClientAppRunner, CrossSiteEval, FedAvgJob, IntimeModelSelector, ScriptRunner
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.verify import verify
from fedtrack_tensorboard.receiver import TBAnalyticsReceiver

from .virtual_jobs import MakeJob, journal_of, model_of

pytestmark = pytest.mark.slow


def test_results_are_those_of_scripts(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = 'writer.record_metric("rate", site.args["rate"], None)'
    app = make_virtual_job(train, evaluate_final_model=True).simulator_run(tmp_path / "app")
    runner = ScriptRunner("client.py", framework="numpy")
    script = make_virtual_job(train, runner=runner, evaluate_final_model=True).simulator_run(tmp_path / "script")
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
def test_any_number_of_workers_gives_the_same_bits(make_virtual_job: MakeJob, tmp_path: Path, workers: int) -> None:
    train = """
    model.params["w"] += np.random.normal(size=(2, 3))
    """
    two = make_virtual_job(train, n_clients=150)
    two.simulator_run(tmp_path / "two")
    runner = ClientAppRunner("client.py", framework="numpy", workers=workers)
    make_virtual_job(train, n_clients=150, runner=runner).simulator_run(tmp_path / "other")
    expected, found = model_of(tmp_path / "two"), model_of(tmp_path / "other")
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


def test_every_site_s_metrics_arrive_under_its_own_name(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    job = make_virtual_job(n_clients=100, num_rounds=3)
    result = job.simulator_run(tmp_path / "ws")
    stored = StoredRun(tmp_path / "ws")
    with stored.journal() as journal:
        counts = journal.counts()
    assert counts.pop("server") > 0
    assert counts == {f"site-{number}": 3 for number in range(1, 101)}
    assert all(result.sites[name].logged == 3 for name in counts)
    assert result.events_complete
    assert tally_of(stored).complete
    assert not [check for check in verify(stored) if check.problem]
    assert not list((tmp_path / "ws").glob("site-*"))  # no folder for each of thousands


def test_state_is_each_site_s_own_whoever_works_for_it(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = """
    state = site.state
    assert state.get("name", site.name) == site.name
    state["name"], state["rounds"] = site.name, state.get("rounds", 0) + 1
    state["sum"] = state.get("sum", np.zeros(2)) + site.index
    assert state["rounds"] == model.current_round + 1, state
    assert state["sum"].tolist() == [site.index * state["rounds"]] * 2
    """
    result = make_virtual_job(train, n_clients=40, num_rounds=3).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [40, 40, 40]


def test_sites_cannot_see_each_other_s_changes_of_the_model(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = """
    seen = float(model.params["w"][0, 0])
    assert (model.params["w"] == seen).all() and model.params["n"] == model.current_round
    model.params["w"][...], model.params["n"][...] = 1000, 77
    model.params = {"w": np.full((2, 3), seen, np.float32), "n": np.array(model.current_round)}
    """
    make_virtual_job(train, n_clients=20).simulator_run(tmp_path / "ws")
    assert model_of(tmp_path / "ws")["n"] == 2


@pytest.mark.parametrize("fraction", [0.1, 0.001])
def test_fraction_of_the_sites_takes_part(make_virtual_job: MakeJob, tmp_path: Path, fraction: float) -> None:
    result = make_virtual_job(n_clients=60, num_rounds=3, fraction=fraction).simulator_run(tmp_path / "ws")
    samples = [tuple(r.sites) for r in result.rounds]
    assert {len(sites) for sites in samples} == {max(1, round(60 * fraction))}
    assert len(set(samples)) > 1
    again = make_virtual_job(n_clients=60, num_rounds=3, fraction=fraction).simulator_run(tmp_path / "again")
    assert [tuple(r.sites) for r in again.rounds] == samples


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
    make_virtual_job: MakeJob, tmp_path: Path, change: Callable[[FedAvgJob], object], reason: str
) -> None:
    job = make_virtual_job()
    change(job)
    with pytest.raises(ConfigError, match=reason):
        job.simulator_run(tmp_path / "ws")


def test_job_show_prints_thousands_of_sites_in_three_lines(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    folder = make_virtual_job(n_clients=2000).export_job(tmp_path / "jobs")
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


def test_best_model_is_kept(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    job = make_virtual_job("model.params['w'] += model.current_round", num_rounds=3, key_metric="index")
    result = job.simulator_run(tmp_path / "ws")
    assert result.best_round is not None
    assert any(isinstance(item, IntimeModelSelector) for item in job.placed["server"].values())
