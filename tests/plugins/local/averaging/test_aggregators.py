"""An aggregator of somebody else averages the rounds of a job that names it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import ConfigError, NotSupported
from fedtrack.job import ClientAppRunner, FedAvg, FedAvgJob, ScriptRunner
from fedtrack.job.load import load_job
from fedtrack.plugins import registry
from fedtrack_local import Aggregator, RoundAverage, WeightedAggregator, load_params
from fedtrack_local.averaging.aggregators import make_aggregator
from support.median import AGGREGATORS
from support.throwaway import Install, install, site

__all__ = ["install", "site"]

CLIENT = """
import fedtrack.client as flare
from fedtrack.client import ClientApp, FLModel

app = ClientApp()

@app.train
def train(model, site):
    number = int(site.name[-1])
    values = {1: 1.0, 2: 2.0, 3: 1000.0}  # one site is far from the others
    return FLModel(
        params={"w": model.params["w"] + values[number], "n": model.params["n"] + number},
        metrics={"accuracy": 0.5},
        meta={"NUM_STEPS_CURRENT_ROUND": number},
    )

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(autouse=True)
def project(install: Install, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install("fedtrack-robust", AGGREGATORS)
    monkeypatch.setenv("PYTHONPATH", str(site))  # for the processes that work for many sites
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(CLIENT)
    return tmp_path


def make_job(aggregator: str, *, shared: bool = False) -> FedAvgJob:
    initial = {"w": np.zeros(3, np.float32), "n": np.zeros((), np.int64)}
    job = FedAvgJob(initial, n_clients=3, num_rounds=2, analytics_receiver=False, aggregator=aggregator)
    shares = ClientAppRunner("client.py", workers=2, framework="numpy")
    job.to_clients(shares if shared else ScriptRunner("client.py", framework="numpy"))
    return job


def result(job: FedAvgJob, folder: Path) -> dict[str, float]:
    run = job.simulator_run(folder)
    assert run.status == "completed"
    found = load_params(run.folder / "app_server" / "FL_global_model.safetensors")
    assert {name: array.dtype for name, array in found.items()} == {"w": np.float32, "n": np.int64}
    return {name: float(np.unique(array).item()) for name, array in found.items()}


def test_the_median_of_three_sites_is_the_middle_one(project: Path) -> None:
    assert result(make_job("median"), project / "ws") == {"w": 4.0, "n": 4.0}


def test_one_that_merges_averages_in_the_processes_that_the_sites_share(project: Path) -> None:
    apart = result(make_job("mean"), project / "apart")
    assert apart == {"w": float(np.float32(2 * 1003 / 3)), "n": 4.0}
    assert result(make_job("mean", shared=True), project / "shared") == apart


def test_one_that_cannot_merge_is_refused_where_sites_share_processes(project: Path) -> None:
    folder = make_job("median", shared=True).export_job(project / "jobs")
    with pytest.raises(ConfigError, match="the aggregator 'median' of the workflow 'controller' cannot merge what"):
        load_job(folder)


def test_an_unknown_one_is_an_error_before_anything_is_started(project: Path) -> None:
    folder = make_job("medain").export_job(project / "jobs")
    with pytest.raises(ConfigError, match=r"No aggregator is called 'medain'; installed: .*mean, median"):
        load_job(folder)


def test_the_name_is_an_argument_of_the_exported_job(project: Path) -> None:
    folder = make_job("median").export_job(project / "jobs")
    (flow,) = json.loads((folder / "app_server/config/config_fed_server.json").read_text())["workflows"]
    assert flow["args"]["aggregator"] == "median"
    assert FedAvg().aggregator == "weighted"


def test_the_weighted_mean_is_one_among_the_others() -> None:
    listed = registry().aggregators
    assert listed.keys() == {"coordinate_median", "mean", "median", "trimmed_mean", "weighted"}
    made = make_aggregator("weighted", {"w": np.zeros(1)})
    assert type(made) is WeightedAggregator
    assert type(listed["weighted"]({"w": np.zeros(1)})) is WeightedAggregator
    assert (made.name, made.summary) == (listed["weighted"].name, listed["weighted"].summary)
    assert (made.can_merge, listed["weighted"].can_merge) == (True, True)


def test_what_cannot_merge_says_so() -> None:
    median: Aggregator = make_aggregator("median", {"w": np.zeros(1)})
    assert not median.can_merge
    with pytest.raises(NotSupported, match="'median' cannot merge"):
        median.partial()
    assert RoundAverage.__init__.__annotations__["aggregator"] == "str"
