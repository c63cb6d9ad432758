"""CrossSiteEval against a server in memory: its arguments, its tasks, and what it makes of the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError, JobError
from fedtrack_local.workflows.cross_site_eval import CrossSiteEval
from fedtrack_local.workflows.workflow import RoundResult, Task
from support.memory_server import MemoryServer, Script


def ones(value: float) -> dict[str, Any]:
    return {"w": np.full(2, value, np.float32)}


def obliging(site: str, task: Task) -> FLModel | None:
    """Submit a model of the site's number, and score a model with its own value."""
    if task.name == "submit_model":
        return FLModel(params=ones(float(site[-1])))
    assert task.params is not None
    return FLModel(metrics={"accuracy": float(task.params["w"][0])})


class EvaluationServer(MemoryServer):
    """Its sites oblige, if no other script is given."""

    def __init__(self, folder: Path, script: Script = obliging, sites: int = 2) -> None:
        super().__init__(folder, script, sites)

    def reject(self, site: str, error: Exception) -> None:
        raise AssertionError(f"{site} was rejected: {error}")

    def finish_round(self, result: RoundResult) -> None:
        raise AssertionError("an evaluation has no rounds")


def test_models_are_scored_one_after_the_other_by_all(tmp_path: Path) -> None:
    server = EvaluationServer(tmp_path)
    server.models.save(ones(7), 4)
    server.models.save_best(ones(6), 3)
    CrossSiteEval().execute(server)
    owners = [task.meta.get("_model_owner_") for task, _ in server.asked]
    assert owners == [None, "SRV_FL_global_model", "SRV_best_FL_global_model", "site-1", "site-2"]
    row = {
        "SRV_FL_global_model": {"accuracy": 7.0},
        "SRV_best_FL_global_model": {"accuracy": 6.0},
        "site-1": {"accuracy": 1.0},
        "site-2": {"accuracy": 2.0},
    }
    assert server.cross_site == {"site-1": row, "site-2": row}
    assert list(server.cross_site) == ["site-1", "site-2"]  # the job's order, not that of the answers
    assert json.loads((tmp_path / "results" / "all.json").read_text()) == server.cross_site
    assert server.logged[0] == (
        {f"cross_val/site-{n}/SRV_FL_global_model/accuracy": 7.0 for n in (1, 2)},
        5,  # rounds trained
    )


def test_tasks_are_optional_and_carry_the_timeouts(tmp_path: Path) -> None:
    server = EvaluationServer(tmp_path)
    CrossSiteEval(submit_model_timeout=3, validation_timeout=5).execute(server)
    assert {(task.name, task.timeout, task.optional) for task, _ in server.asked} == {
        ("submit_model", 3, True),
        ("validate", 5, True),
    }
    assert server.asked[0][0].meta == {"submit_model_name": "best_model"}
    assert server.asked[0][0].params is None


def test_without_a_global_model_the_sites_models_are_scored(tmp_path: Path) -> None:
    server = EvaluationServer(tmp_path)
    CrossSiteEval().execute(server)
    assert list(server.cross_site["site-1"]) == ["site-1", "site-2"]


def test_submitted_models_are_mapped_and_kept_on_disk(tmp_path: Path) -> None:
    server = EvaluationServer(tmp_path, sites=5)
    CrossSiteEval().execute(server)
    scored = [task.params["w"] for task, _ in server.asked if task.params is not None]
    assert not any(array.flags.owndata for array in scored)
    kept = {path.name for path in (tmp_path / "cross_site_val" / "models").iterdir()}
    assert kept == {f"site-{n}.safetensors" for n in range(1, 6)}


def test_site_that_missed_one_score_is_not_asked_again(tmp_path: Path) -> None:
    def script(site: str, task: Task) -> FLModel | None:
        late = site == "site-1" and task.meta.get("_model_owner_") == "site-1"
        return None if late else obliging(site, task)

    server = EvaluationServer(tmp_path, script)
    server.initial = ones(0)
    CrossSiteEval().execute(server)
    assert [sites for _, sites in server.asked] == [["site-1", "site-2"]] * 3 + [["site-2"]]
    assert server.cross_site["site-1"] == {"SRV_FL_global_model": {"accuracy": 0.0}}


def test_results_so_far_are_kept_when_the_job_fails(tmp_path: Path) -> None:
    def script(site: str, task: Task) -> FLModel | None:
        if task.meta.get("_model_owner_") == "site-2":
            raise JobError("too few sites")
        return obliging(site, task)

    server = EvaluationServer(tmp_path, script)
    with pytest.raises(JobError, match="too few sites"):
        CrossSiteEval(cleanup_models=True).execute(server)
    assert list(json.loads((tmp_path / "results" / "all.json").read_text())["site-1"]) == ["site-1"]
    assert not (tmp_path / "cross_site_val" / "models").exists()


def test_answer_without_metrics_is_a_gap_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def script(site: str, task: Task) -> FLModel | None:
        silent = site == "site-2" and task.name == "validate"
        return FLModel() if silent else obliging(site, task)

    server = EvaluationServer(tmp_path, script)
    CrossSiteEval().execute(server)
    assert list(server.cross_site) == ["site-1"]
    assert "site-2: its score of the model of site-1 has no metrics" in caplog.text


def test_no_file_is_written_if_the_job_wants_none(tmp_path: Path) -> None:
    server = EvaluationServer(tmp_path)
    server.cross_site_file = None
    CrossSiteEval().execute(server)
    assert not (tmp_path / "results").exists()


def test_nothing_to_score_is_an_error(tmp_path: Path) -> None:
    server = EvaluationServer(tmp_path)
    with pytest.raises(JobError, match="no model to score"):
        CrossSiteEval(submit_model_task_name="").execute(server)
    assert server.asked == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"submit_model_timeout": -1}, "submit_model_timeout is -1"),
        ({"validation_timeout": float("nan")}, "validation_timeout is nan"),
        ({"participating_clients": []}, "participating_clients is empty"),
        ({"cross_val_dir": "../elsewhere"}, r"cross_val_dir is '\.\./elsewhere'"),
        ({"cross_val_dir": "/tmp"}, "give a relative path"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CrossSiteEval(**arguments)


def test_participants_are_sites_of_the_job() -> None:
    workflow = CrossSiteEval(participating_clients=["site-2", "site-9"])
    with pytest.raises(ConfigError, match=r"'site-9', which is no site of the job: site-1, site-2\."):
        workflow.check(["site-1", "site-2"])
    workflow.check(["site-2", "site-9"])


def test_arguments_of_flares_workflows_are_understood() -> None:
    arguments = {
        "task_check_period": 1.0,
        "cross_val_dir": "cross_site_val",
        "submit_model_timeout": 600,
        "validation_timeout": 6000,
        "model_locator_id": "model_locator",
        "formatter_id": "json_formatter",
        "persistor_id": "persistor",
        "submit_model_task_name": "submit_model",
        "validation_task_name": "validate",
        "cleanup_models": True,
        "participating_clients": ["site-1"],
        "wait_for_clients_timeout": 300,
    }
    workflow = msgspec.convert(arguments, CrossSiteEval)
    assert (workflow.cleanup_models, workflow.participating_clients) == (True, ["site-1"])
