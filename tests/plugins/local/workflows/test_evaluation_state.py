"""EvaluationState: a cross-site evaluation that was interrupted asks for nothing that it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedtrack.client.fl_model import FLModel
from fedtrack.errors import JobError
from fedtrack_local.workflows.cross_site_eval import CrossSiteEval
from fedtrack_local.workflows.evaluation_state import EvaluationState
from fedtrack_local.workflows.workflow import Task
from support.memory_server import MemoryServer


def test_an_evaluation_that_was_interrupted_uses_what_it_had_collected(tmp_path: Path) -> None:
    def oblige(site: str, task: Task) -> FLModel:
        if task.name == "submit_model":
            return FLModel(params={"w": np.full(2, int(site[-1]), np.float32)})
        if task.meta["_model_owner_"] == "site-2":
            raise JobError("killed")
        return FLModel(metrics={"accuracy": float(task.params["w"][0]) if task.params else 0.0})

    server = MemoryServer(tmp_path, oblige)
    with pytest.raises(JobError, match="killed"):
        CrossSiteEval().execute(server)
    state = EvaluationState.load(server.state)
    assert (sorted(state.submitted), state.collected) == (["site-1", "site-2"], True)
    assert state.scored == {"site-1": {"site-1": {"accuracy": 1.0}, "site-2": {"accuracy": 1.0}}}

    def score(site: str, task: Task) -> FLModel:
        assert task.params is not None
        return FLModel(metrics={"accuracy": float(task.params["w"][0])})

    resumed = MemoryServer(tmp_path, score)
    CrossSiteEval().execute(resumed)
    assert [(task.name, task.meta["_model_owner_"]) for task, _ in resumed.asked] == [("validate", "site-2")]
    row = {"site-1": {"accuracy": 1.0}, "site-2": {"accuracy": 2.0}}
    assert resumed.cross_site == {"site-1": row, "site-2": row}


def test_a_model_that_was_submitted_before_a_crash_is_not_asked_for_again(tmp_path: Path) -> None:
    params = {"w": np.ones(2, np.float32)}

    def die_at_site_1(site: str, task: Task) -> FLModel:
        if site == "site-1":  # the second to answer
            raise JobError("killed")
        return FLModel(params=params)

    with pytest.raises(JobError):
        CrossSiteEval().execute(MemoryServer(tmp_path, die_at_site_1))
    resumed = MemoryServer(tmp_path, lambda _, task: FLModel(params=params, metrics={"accuracy": 1.0}))
    CrossSiteEval().execute(resumed)
    assert (resumed.asked[0][0].name, resumed.asked[0][1]) == ("submit_model", ["site-1"])
