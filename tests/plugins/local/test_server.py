"""LocalServer: where a run that is resumed goes on, from nothing but what is on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from fedtrack.job.components import IntimeModelSelector
from fedtrack.job.fedavg import FedAvg
from fedtrack.runs.workspace import RunRecord, Workspace
from fedtrack.spool.spool import Spool
from fedtrack_local.models.params import save_params
from fedtrack_local.server import LocalServer
from fedtrack_local.workflows.workflow import RoundResult

Start = Callable[..., LocalServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a starter of servers, one after the other, in one workspace."""
    workspace = Workspace(tmp_path / "ws")
    workspace.create(RunRecord("r", "job/j", 0), [])
    save_params({"w": np.zeros(2)}, tmp_path / "initial")
    spools: list[Spool] = []

    def start(selector: IntimeModelSelector | None = None, initial: bool = True) -> LocalServer:
        spools.append(Spool(tmp_path / "spool"))
        job = SimpleNamespace(
            selector=selector,
            results_json=None,
            initial_model=tmp_path / "initial" if initial else None,
            workflows={"first": FedAvg(1), "second": FedAvg(1)},
        )
        run: Any = SimpleNamespace(job=job, info=None, workspace=workspace, spool=spools[-1])
        nobody: Any = None
        return LocalServer(run, nobody)

    yield start
    for spool in spools:
        spool.close()
    workspace.close()


def value(server: LocalServer) -> Any:
    params = server.initial_params()
    return params["w"].tolist() if params else None


def test_a_fresh_run_begins_with_the_jobs_model_if_it_has_one(start: Start) -> None:
    server = start()
    assert (server.next_round, value(server), server.rounds) == (0, [0.0, 0.0], [])
    assert start(initial=False).initial_params() is None


def test_a_resumed_run_goes_on_after_the_last_model_that_was_kept(start: Start) -> None:
    start().models.save({"w": np.ones(2)}, 4)
    server = start()
    assert (server.next_round, value(server)) == (5, [1.0, 1.0])


def test_rounds_outlive_the_server_with_whatever_they_measured(start: Start) -> None:
    first = RoundResult(0, {"loss": math.nan, "auc": math.inf}, ("a",), 1.5, 10)
    start().finish_round(first)
    server = start()
    server.finish_round(RoundResult(1, {}, (), 0.5, 0))
    found = start().rounds
    assert [result.current_round for result in found] == [0, 1]
    assert math.isnan(found[0].metrics["loss"])
    assert found[0].metrics["auc"] == math.inf


def test_the_end_of_a_round_whose_model_was_saved_is_made_up_for(start: Start) -> None:
    result = RoundResult(4, {"loss": math.nan}, ("a",), 1.5, 10, 3.0)
    start().models.save({"w": np.ones(2)}, 4, result=msgspec.msgpack.encode(result))
    server = start()
    ended: list[tuple[str, Any]] = []
    server.notify = lambda hook, **arguments: ended.append((hook, arguments["current_round"]))  # type: ignore[method-assign]
    server.end_last_round()
    server.end_last_round()
    assert [(found.current_round, found.sites, found.steps) for found in server.rounds] == [(4, ("a",), 3.0)]
    assert ended == [("fedtrack_round_ended", 4)]
    assert [found.current_round for found in start().rounds] == [4]


def test_a_resumed_run_knows_the_best_model_that_there_was(start: Start) -> None:
    start().models.save_best({"w": np.ones(2)}, 3, {"auc": 0.75, "loss": 2.0})
    server = start(IntimeModelSelector("auc"))
    assert server.selector is not None
    assert (server.selector.best_round, server.selector.best_value) == (3, 0.75)
    assert not server.selector.observe(4, {"auc": 0.75})
    assert server.selector.observe(5, {"auc": 0.8})
    assert start().selector is None


def test_its_own_log_calls_are_counted_also_those_before_a_resume(start: Start) -> None:
    server = start()
    server.log_metrics({"loss": 0.5, "auc": 0.25}, 1)
    said = server.goodbye("server")
    assert said is not None
    assert (said.stored, said.dropped, len(said.streams or ())) == (2, 0, 1)  # of those before, their streams say it


def test_the_scores_of_an_earlier_workflow_are_not_those_of_a_later_one_that_is_resumed(start: Start) -> None:
    server = start()
    for number, id_ in enumerate(("first", "second")):
        assert server.enter(id_)
        server.models.save({"w": np.ones(2)}, number)
        server.finish_round(RoundResult(number, {}, ("a",), 1.0, 10))
        if id_ == "first":
            server.final_metrics = {"auc": 0.5}
            server.leave()
    resumed = start()
    assert not resumed.enter("first")
    assert resumed.final_metrics == {"auc": 0.5}
    assert resumed.enter("second")
    assert (resumed.next_round, resumed.final_metrics) == (2, server.final_metrics) == (2, {})
