"""Cross-site evaluation on the local engine: models and scores of the sites, and sites that send none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import JobError
from fedtrack.job import CrossSiteEval, FedAvgJob, ScriptRunner, ValidationJsonGenerator
from fedtrack.journal.journal import Journal
from fedtrack.runs.result import RunResult
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, decode
from fedtrack_local.models.params import load_params

pytestmark = pytest.mark.slow

#: Site n adds n in every round, so that two rounds of two sites make a global model of 3 and a local one of 1.5 + n.
CLIENT = """
import fedtrack.client as flare
from fedtrack.client import ModelName

flare.init()
site = flare.get_site_name()
best = None
while flare.is_running():
    model = flare.receive()
    if flare.is_train():
        best = {name: value + int(site[-1]) for name, value in model.params.items()}
        flare.send(flare.FLModel(params=best, metrics={"accuracy": float(model.params["w"].mean())}))
    elif flare.is_evaluate():
        EVALUATE
    SUBMIT
"""
EVALUATE = 'flare.send(flare.FLModel(metrics={"loss": 0.5, "accuracy": float(model.params["w"].mean())}))'
SUBMIT = """elif flare.is_submit_model():
        assert model.meta["submit_model_name"] == ModelName.BEST_MODEL and model.params is None
        flare.send(flare.FLModel(params=best))"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_job(
    workflow: CrossSiteEval | None = None, *, submit: str = SUBMIT, evaluate: str = EVALUATE, **kwargs: Any
) -> FedAvgJob:
    Path("client.py").write_text(CLIENT.replace("SUBMIT", submit).replace("EVALUATE", evaluate))
    settings: dict[str, Any] = {"n_clients": 2, "num_rounds": 2, "analytics_receiver": False}
    job = FedAvgJob(initial_model={"w": np.zeros((2, 3), np.float32)}, name="cross", **settings | kwargs)
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    job.to_server(workflow or CrossSiteEval(submit_model_timeout=60, validation_timeout=60))
    return job


def accuracies(result: RunResult) -> dict[str, dict[str, float | None]]:
    return {
        site: {owner: metrics["accuracy"] for owner, metrics in models.items()}
        for site, models in result.cross_site.items()
    }


def results_file(result: RunResult) -> Path:
    return result.folder / "cross_site_val" / "cross_val_results.json"


SERVER_MODELS = {"SRV_FL_global_model": 3.0, "SRV_best_FL_global_model": 1.5}


def test_every_site_scores_every_model_after_the_training(tmp_path: Path) -> None:
    result = make_job().simulator_run(tmp_path / "ws")
    row = SERVER_MODELS | {"site-1": 2.5, "site-2": 3.5}
    assert accuracies(result) == {"site-1": row, "site-2": row}
    assert json.loads(results_file(result).read_text()) == result.cross_site
    assert RunResult.load(result.folder / "run_summary.json") == result
    submitted = result.folder / "cross_site_val" / "models" / "site-2.safetensors"
    np.testing.assert_array_equal(load_params(submitted)["w"], np.full((2, 3), 3.5, np.float32))


def test_results_are_records_of_the_server(tmp_path: Path) -> None:
    result = make_job().simulator_run(tmp_path / "ws")
    journal = Journal(result.folder / "journal.db")
    records = [
        decode(payload)
        for batch in journal.read(0)
        if batch.site == "server"
        for _, payload in frames.split(batch.body)
    ]
    journal.close()
    found = {(r.key, r.step): r.value for r in records if isinstance(r, Metric) and r.key.startswith("cross_val/")}
    assert len(found) == 2 * 4 * 2  # sites, models, metrics
    assert found["cross_val/site-1/site-2/accuracy", 2] == 3.5
    assert found["cross_val/site-2/SRV_FL_global_model/loss", 2] == 0.5


def test_summary_shows_the_key_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_job().simulator_run(tmp_path / "ws")
    lines = [line.replace("│", "").replace("┃", "").split() for line in capsys.readouterr().out.splitlines()]
    assert ["Cross-site", "evaluation:", "accuracy"] in lines
    assert ["data", "of", "SRV", "SRV_best", "site-1", "site-2"] in lines
    assert ["site-2", "3.0000", "1.5000", "2.5000", "3.5000"] in lines


def test_arguments_of_the_job_are_followed(tmp_path: Path) -> None:
    job = make_job(
        CrossSiteEval(participating_clients=["site-2"], cross_val_dir="elsewhere", cleanup_models=True),
        validation_json_generator=ValidationJsonGenerator("results", "all.json"),
    )
    result = job.simulator_run(tmp_path / "ws")
    assert accuracies(result) == {"site-2": SERVER_MODELS | {"site-2": 3.5}}
    assert json.loads((result.folder / "results" / "all.json").read_text()) == result.cross_site
    assert not (result.folder / "elsewhere" / "models").exists()


@pytest.mark.parametrize(
    ("submit", "warning"),
    [
        ("", "does not answer the task 'submit_model'"),
        ("else: flare.send(flare.FLModel(metrics={'accuracy': 1.0}))", "has no params"),
        ("else: flare.send(flare.FLModel(params={'w': best['w'][:1]}))", r"expected float32 \(2, 3\)"),
        ("else: flare.send(flare.FLModel(params=best, params_type='DIFF'))", "submitted a difference"),
    ],
)
def test_site_that_submits_nothing_usable_still_scores(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, submit: str, warning: str
) -> None:
    started = monotonic()
    result = make_job(CrossSiteEval(), submit=submit).simulator_run(tmp_path / "ws")
    assert monotonic() - started < 60  # it did not wait for submit_model_timeout
    assert result.status == "completed"
    assert accuracies(result) == {"site-1": SERVER_MODELS, "site-2": SERVER_MODELS}
    assert result.sites["site-1"].error == ""
    assert len(re.findall(f"site-[12]: .*{warning}", caplog.text)) == 2


@pytest.mark.parametrize(
    "loop",
    [
        "import time; time.sleep(3)",  # longer than the timeout, then goes on
        "import time; time.sleep(3); flare.send(flare.FLModel(params=best))",
        "while flare.is_submit_model(): model = flare.receive(); import time; time.sleep(0.01)\n"
        "        flare.send(flare.FLModel(metrics={'accuracy': float(model.params['w'].mean())}))",
    ],
)
def test_site_that_submits_too_late_still_scores(tmp_path: Path, loop: str) -> None:
    submit = f"elif site == 'site-2':\n        {loop}\n    else: flare.send(flare.FLModel(params=best))"
    result = make_job(CrossSiteEval(submit_model_timeout=1.0), submit=submit).simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    row = SERVER_MODELS | {"site-1": 2.5}
    assert accuracies(result) == {"site-1": row, "site-2": row}


def test_site_that_does_not_score_leaves_its_row_empty(tmp_path: Path) -> None:
    evaluate = f"if site == 'site-2': {EVALUATE}"
    result = make_job(evaluate=evaluate).simulator_run(tmp_path / "ws")
    assert accuracies(result) == {"site-2": SERVER_MODELS | {"site-1": 2.5, "site-2": 3.5}}


def test_job_without_a_single_score_fails(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"no site scored the model of SRV_FL_global_model.*flare\.is_evaluate"):
        make_job(evaluate="pass").simulator_run(tmp_path / "ws")


def test_site_that_dies_while_submitting_has_failed(tmp_path: Path) -> None:
    submit = "elif site == 'site-1': raise KeyError('weights')"
    with pytest.raises(
        JobError, match=r"site-1: the training script raised KeyError: 'weights' .* in task 'submit_model'"
    ):
        make_job(submit=submit).simulator_run(tmp_path / "ws")
    result = make_job(submit=submit, min_clients=1).simulator_run(tmp_path / "ws2")
    assert accuracies(result) == {"site-2": SERVER_MODELS}


def test_evaluation_without_training_scores_the_initial_model(tmp_path: Path) -> None:
    job = make_job(CrossSiteEval(submit_model_task_name=""), submit="else: raise ValueError(flare.get_task_name())")
    del job.placed["server"]["controller"]  # FedAvg
    result = job.simulator_run(tmp_path / "ws")
    assert accuracies(result) == {site: {"SRV_FL_global_model": 0.0} for site in ("site-1", "site-2")}


def test_scores_that_are_not_finite_are_null_in_the_file(tmp_path: Path) -> None:
    evaluate = 'flare.send(flare.FLModel(metrics={"accuracy": float("nan")}))'
    result = make_job(evaluate=evaluate).simulator_run(tmp_path / "ws")
    assert json.loads(results_file(result).read_text())["site-1"]["site-2"] == {"accuracy": None}
    assert result.cross_site["site-1"]["site-2"] == {"accuracy": None}
    assert RunResult.load(result.folder / "run_summary.json").cross_site == result.cross_site


def test_workflows_run_in_the_order_in_which_they_were_placed(tmp_path: Path) -> None:
    job = make_job(num_rounds=1)
    job.placed["server"] = dict(reversed(job.placed["server"].items()))  # evaluation before training
    result = job.simulator_run(tmp_path / "ws")
    assert accuracies(result) == {site: {"SRV_FL_global_model": 0.0} for site in ("site-1", "site-2")}
    assert len(result.rounds) == 1
