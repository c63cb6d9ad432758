"""FedAvg against a server in memory: who is asked, with which model, and what is made of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.client.fl_model import FLModel
from fedtrack.errors import JobError
from fedtrack_local.workflows.fedavg import FedAvg
from fedtrack_local.workflows.model_selector import ModelSelector
from fedtrack_local.workflows.workflow import Task
from support.memory_server import MemoryServer, Script


def model(value: float) -> dict[str, Any]:
    return {"w": np.full(2, value, np.float32)}


def add_own_number(site: str, task: Task) -> FLModel | None:
    """Train by adding the site's number, and score the model that came with its first value."""
    assert task.params is not None
    scored = {"accuracy": float(task.params["w"][0])}
    if task.name == "validate":
        return FLModel(metrics=scored)
    trained = {"w": task.params["w"] + np.float32(site.rpartition("-")[2])}
    return FLModel(params=trained, metrics=scored, meta={"NUM_STEPS_CURRENT_ROUND": 10})


def serve(folder: Path, script: Script = add_own_number, sites: int = 2) -> MemoryServer:
    server = MemoryServer(folder, script, sites)
    server.initial = model(0)
    return server


def test_each_round_sends_what_the_last_one_made_and_the_last_model_is_kept(tmp_path: Path) -> None:
    server = serve(tmp_path)
    FedAvg(num_rounds=3).execute(server)
    sent = [task.params["w"].tolist() for task, _ in server.asked if task.params]
    assert sent == [[0.0, 0.0], [1.5, 1.5], [3.0, 3.0]]  # sites add 1 and 2
    stored = server.models.load()
    assert stored is not None
    assert (stored.params["w"].tolist(), stored.current_round) == ([4.5, 4.5], 2)


def test_a_round_says_what_it_brought_under_its_own_number(tmp_path: Path) -> None:
    server = serve(tmp_path)
    FedAvg(num_rounds=2).execute(server)
    assert [(r.current_round, r.sites, r.metrics) for r in server.rounds] == [
        (0, ("site-1", "site-2"), {"accuracy": 0.0}),
        (1, ("site-1", "site-2"), {"accuracy": 1.5}),
    ]
    assert [step for _, step in server.logged] == [0, 1]
    logged = server.logged[1][0]
    assert (logged["accuracy"], logged["round/sites"], logged["round/steps"]) == (1.5, 2.0, 20.0)
    assert logged["round/bytes"] == 2 * 100 + 2 * 8  # two answers of 100 bytes, two copies of a model of 8
    assert server.rounds[1].size == 216
    hooks = [(hook, arguments["current_round"]) for hook, arguments in server.notified if "round" in hook]
    assert hooks == [(f"fedtrack_round_{word}", n) for n in (0, 1) for word in ("started", "ended")]


def test_rounds_that_are_finished_are_not_played_again(tmp_path: Path) -> None:
    server = serve(tmp_path)
    server.next_round, server.initial = 2, model(3)
    FedAvg(num_rounds=3).execute(server)
    assert [task.current_round for task, _ in server.asked] == [2]
    stored = server.models.load()
    assert stored is not None
    assert stored.params["w"].tolist() == [4.5, 4.5]


def test_a_run_whose_rounds_are_all_finished_asks_nobody(tmp_path: Path) -> None:
    server = serve(tmp_path)
    server.next_round = 3
    FedAvg(num_rounds=3).execute(server)
    assert server.asked == []


def test_rounds_begin_with_start_round_and_sites_are_told_where_they_end(tmp_path: Path) -> None:
    server = serve(tmp_path)
    FedAvg(num_rounds=2, start_round=5).execute(server)
    assert [(task.current_round, task.total_rounds) for task, _ in server.asked] == [(5, 7), (6, 7)]


def chosen(folder: Path, **arguments: Any) -> list[list[str]]:
    server = serve(folder, sites=10)
    FedAvg(num_rounds=6, **arguments).execute(server)
    return [sites for _, sites in server.asked]


@pytest.mark.parametrize("arguments", [{"num_clients": 3}, {"fraction": 0.3}])
def test_a_part_of_the_sites_is_asked_anew_in_each_round_and_in_the_jobs_order(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    rounds = chosen(tmp_path, **arguments)
    names = [f"site-{n}" for n in range(1, 11)]
    assert all(len(set(sites)) == 3 for sites in rounds)
    assert all(sites == sorted(sites, key=names.index) for sites in rounds)
    assert len({tuple(sites) for sites in rounds}) > 1


def test_the_seed_decides_who_is_asked(tmp_path: Path) -> None:
    same = [chosen(tmp_path / name, fraction=0.3, seed=1) for name in "ab"]
    assert same[0] == same[1]
    assert chosen(tmp_path / "c", fraction=0.3, seed=2) != same[0]


def test_a_resumed_run_asks_whom_the_first_one_would_have_asked(tmp_path: Path) -> None:
    whole = chosen(tmp_path / "whole", num_clients=3)
    server = serve(tmp_path / "rest", sites=10)
    server.next_round = 4
    FedAvg(num_rounds=6, num_clients=3).execute(server)
    assert [sites for _, sites in server.asked] == whole[4:]


def test_a_share_is_one_of_the_living_sites(tmp_path: Path) -> None:
    server = serve(tmp_path, sites=8)
    server.rejected = {f"site-{n}": "it died" for n in range(1, 5)}
    FedAvg(num_rounds=1, fraction=0.5).execute(server)
    assert [len(sites) for _, sites in server.asked] == [2]


def test_the_best_model_is_the_one_that_entered_the_round_which_scored_it(tmp_path: Path) -> None:
    scores = iter([9.0, 9.0, 0.5, 0.5, 0.8, 0.8, 0.7, 0.7])

    def script(site: str, task: Task) -> FLModel | None:
        answer = add_own_number(site, task)
        assert answer is not None
        answer.metrics = {"accuracy": next(scores)}
        return answer

    server = serve(tmp_path, script)
    server.selector = ModelSelector("accuracy")
    FedAvg(num_rounds=4).execute(server)
    best = server.models.load_best()
    assert best is not None
    # Round 0 scores a model that nobody has trained; round 2 scored what rounds 0 and 1 made.
    assert (best.current_round, best.params["w"].tolist()) == (2, [3.0, 3.0])
    assert best.metrics["accuracy"] == 0.8


def test_the_last_model_is_scored_only_if_the_job_asks_for_it(tmp_path: Path) -> None:
    server = serve(tmp_path / "without")
    FedAvg(num_rounds=2).execute(server)
    assert server.final_metrics == {}
    server = serve(tmp_path / "with")
    server.selector = ModelSelector("accuracy")
    FedAvg(num_rounds=2, evaluate_final_model=True).execute(server)
    task, sites = server.asked[-1]
    assert (task.name, task.current_round, sites) == ("validate", None, ["site-1", "site-2"])
    assert server.final_metrics == {"accuracy": 3.0}
    assert server.logged[-1] == ({"accuracy": 3.0}, 2)  # one step beyond the last round
    best = server.models.load_best()
    assert best is not None
    assert best.params["w"].tolist() == [3.0, 3.0]


def test_a_site_whose_result_cannot_be_used_is_refused_and_the_round_goes_on(tmp_path: Path) -> None:
    def script(site: str, task: Task) -> FLModel | None:
        return FLModel(metrics={"accuracy": 100.0}) if site == "site-2" else add_own_number(site, task)

    server = serve(tmp_path, script)
    FedAvg(num_rounds=1).execute(server)
    assert "has no params" in server.rejected["site-2"]
    assert (server.rounds[0].sites, server.rounds[0].metrics) == (("site-1",), {"accuracy": 0.0})


def test_a_round_without_a_usable_result_ends_the_job_and_keeps_the_last_model(tmp_path: Path) -> None:
    def script(site: str, task: Task) -> FLModel | None:
        return None if task.current_round == 1 else add_own_number(site, task)

    server = serve(tmp_path, script)
    with pytest.raises(JobError, match="No site sent a usable result"):
        FedAvg(num_rounds=3).execute(server)
    stored = server.models.load()
    assert stored is not None
    assert (stored.current_round, stored.params["w"].tolist()) == (0, [1.5, 1.5])
    assert len(server.rounds) == 1


def test_without_an_initial_model_the_sites_begin_with_their_own(tmp_path: Path) -> None:
    def script(site: str, task: Task) -> FLModel | None:
        return FLModel(params=model(float(site[-1]))) if task.params is None else add_own_number(site, task)

    server = serve(tmp_path, script)
    server.initial = None
    server.selector = ModelSelector("accuracy")
    FedAvg(num_rounds=2).execute(server)
    stored = server.models.load()
    assert stored is not None
    assert stored.params["w"].tolist() == [3.0, 3.0]


def test_answers_in_any_order_give_the_same_bits(tmp_path: Path) -> None:
    class InOrder(MemoryServer):
        def ask(self, task: Task, sites: Any) -> Any:
            return reversed(list(super().ask(task, sites)))

    def script(site: str, task: Task) -> FLModel | None:
        values = np.random.default_rng(int(site[-1])).standard_normal(64, np.float32)
        return FLModel(params={"w": values}, meta={"NUM_STEPS_CURRENT_ROUND": int(site[-1])})

    found = []
    for kind in (MemoryServer, InOrder):
        server = kind(tmp_path / kind.__name__, script, sites=5)
        server.initial = {"w": np.zeros(64, np.float32)}
        FedAvg(num_rounds=1).execute(server)
        stored = server.models.load()
        assert stored is not None
        found.append(stored.params["w"].tobytes())
    assert found[0] == found[1]
