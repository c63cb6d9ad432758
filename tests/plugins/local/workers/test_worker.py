"""Worker: a group's answer is made of its sites' answers, and what one of them does wrong is its own failure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fedtrack.client import ClientApp, FLModel, SiteContext
from fedtrack.errors import ConfigError
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.writer import Writer, bind
from fedtrack_local.averaging.partial_average import PartialAverage
from fedtrack_local.models.params import save_params
from fedtrack_local.processes.messages import MAX_MESSAGE, RunSites, SitesDone, WorkerSpec, encode
from fedtrack_local.workers.worker import Position, Worker, read_position


@pytest.fixture
def spec(tmp_path: Path) -> WorkerSpec:
    save_params({"w": np.zeros(2, np.float32)}, tmp_path / "model")
    return WorkerSpec(
        name="@worker-1",
        run_id="r",
        script=str(tmp_path / "app.py"),
        app="app",
        args={"rate": 0.5},
        custom=str(tmp_path),
        spool=str(tmp_path / "spool"),
        states=str(tmp_path / "states"),
        position=str(tmp_path / "position"),
        log=str(tmp_path / "log.txt"),
        framework="numpy",
        environment={},
        threads=1,
        total_sites=5,
        durability="process",
        spool_limit=2**20,
    )


@pytest.fixture
def spool(spec: WorkerSpec) -> Iterator[SharedSpool]:
    spool = SharedSpool(Path(spec.spool))
    bind(spool)
    yield spool
    spool.close()
    bind(None)


Start = Callable[[ClientApp], Worker]


@pytest.fixture
def start(spec: WorkerSpec, spool: SharedSpool) -> Iterator[Start]:
    """Return a starter of workers, whose files are closed at the end."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(closing(Worker(spec, app, spool)))


def order(spec: WorkerSpec, sites: int = 3, name: str = "train", current_round: int = 0) -> RunSites:
    folder = Path(spec.custom)
    numbered = [(f"site-{n}", n - 1) for n in range(1, sites + 1)]
    return RunSites(7, 2, name, str(folder / "model"), str(folder / "partial"), numbered, current_round, 9, {"k": 1})


def app(train: Any) -> ClientApp:
    found = ClientApp()
    found.train(train)
    return found


def add_index(model: FLModel, site: SiteContext) -> FLModel:
    assert model.params is not None
    model.params["w"] += site.index  # in place: nobody else may see it
    return FLModel(params=model.params, metrics={"index": site.index}, meta={"NUM_STEPS_CURRENT_ROUND": 1})


def errors(done: SitesDone) -> list[str]:
    return [result.error for result in done.results]


def test_a_group_is_answered_in_its_order_with_its_average(spec: WorkerSpec, start: Start) -> None:
    done = start(app(add_index)).work(order(spec))
    assert (done.task_id, done.group, done.averaged) == (7, 2, True)
    assert [(result.site, result.metrics) for result in done.results] == [
        (f"site-{n}", {"index": n - 1.0}) for n in (1, 2, 3)
    ]
    partial = PartialAverage.load(Path(spec.custom) / "partial")
    assert (partial.weight, partial.tensors["w"][0].tolist()) == (3.0, [1.0, 1.0])


def test_a_function_is_told_where_and_when_it_is(spec: WorkerSpec, start: Start) -> None:
    seen: list[Any] = []

    def train(model: FLModel, site: SiteContext) -> FLModel:
        seen.append((site.name, site.index, site.total, dict(site.args), model.current_round, model.total_rounds))
        seen.append((worker.site_name, worker.task_name, worker.config["site_index"], worker.config["script"]))
        return add_index(model, site)

    worker = start(app(train))
    worker.work(order(spec, sites=1, current_round=3))
    assert seen == [("site-1", 0, 5, {"rate": 0.5}, 3, 9), ("site-1", "train", 0, "app.py")]


@pytest.mark.parametrize("error", [RuntimeError("no data"), SystemExit(3), RecursionError("deep")])
def test_what_a_function_raises_ends_its_site_and_no_other(
    error: BaseException, spec: WorkerSpec, start: Start
) -> None:
    def train(model: FLModel, site: SiteContext) -> FLModel:
        if site.index == 1:
            raise error
        return add_index(model, site)

    done = start(app(train)).work(order(spec))
    assert errors(done) == ["", f"{type(error).__name__}: {error}", ""]
    assert "in train" in done.results[1].traceback
    assert PartialAverage.load(Path(spec.custom) / "partial").weight == 2.0


def test_ctrl_c_is_nobodys_failure(spec: WorkerSpec, start: Start) -> None:
    def train(model: FLModel, site: SiteContext) -> FLModel:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(app(train)).work(order(spec))


def test_a_group_in_which_all_have_failed_has_no_average(spec: WorkerSpec, start: Start) -> None:
    done = start(app(lambda model, site: FLModel())).work(order(spec))
    assert (done.averaged, Path(spec.custom, "partial").exists()) == (False, False)
    assert all("the result of a train task has no params" in error for error in errors(done))


def test_scores_need_no_parameters_and_make_no_average(spec: WorkerSpec, start: Start) -> None:
    scoring = ClientApp()
    scoring.evaluate(lambda model, site: {"accuracy": np.float32(0.5), "loss": 1})
    done = start(scoring).work(order(spec, name="validate"))
    assert (done.averaged, Path(spec.custom, "partial").exists()) == (False, False)
    assert done.results[0].metrics == {"accuracy": 0.5, "loss": 1.0}


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"x": object()}, "FLModel.meta cannot be sent"),
        ({"x": "y" * 20_000}, f"with ClientAppRunner a site can send {MAX_MESSAGE // 128:,}"),
        ({"NUM_STEPS_CURRENT_ROUND": -1}, "a weight is a number of steps"),
    ],
)
def test_what_cannot_be_sent_is_named_before_it_is_averaged(
    meta: dict[str, Any], reason: str, spec: WorkerSpec, start: Start
) -> None:
    def train(model: FLModel, site: SiteContext) -> FLModel:
        return replace(add_index(model, site), meta=meta if site.index == 0 else {})

    done = start(app(train)).work(order(spec, sites=2))
    assert reason in errors(done)[0]
    assert PartialAverage.load(Path(spec.custom) / "partial").weight == 1.0


def test_the_largest_answer_of_a_group_fits_into_a_message(spec: WorkerSpec, start: Start) -> None:
    def train(model: FLModel, site: SiteContext) -> FLModel:
        return replace(add_index(model, site), meta={"x": "y" * (MAX_MESSAGE // 128 - 200)})

    done = start(app(train)).work(order(spec, sites=64))
    assert set(errors(done)) == {""}
    assert len(encode(done)) < MAX_MESSAGE


def test_log_calls_are_counted_for_the_site_that_made_them(spec: WorkerSpec, start: Start) -> None:
    def train(model: FLModel, site: SiteContext) -> FLModel:
        for step in range(site.index):
            Writer().record_metric("loss", 1.0, step)
        return add_index(model, site)

    assert start(app(train)).work(order(spec)).logged == {"site-1": 0, "site-2": 1, "site-3": 2}


def test_a_site_keeps_its_state_when_its_function_returns_and_not_when_it_raises(
    spec: WorkerSpec, start: Start
) -> None:
    seen: list[dict[str, Any]] = []

    def train(model: FLModel, site: SiteContext) -> FLModel:
        seen.append(dict(site.state))
        site.state["rounds"] = site.state.get("rounds", 0) + 1
        if model.current_round == 1:
            raise RuntimeError
        return add_index(model, site)

    worker = start(app(train))
    for current_round in range(3):
        worker.work(order(spec, sites=1, current_round=current_round))
    assert seen == [{}, {"rounds": 1}, {"rounds": 1}]


def test_a_group_that_is_done_again_gives_the_same_bits(spec: WorkerSpec, start: Start) -> None:
    def train(model: FLModel, site: SiteContext) -> FLModel:
        site.state["seen"] = site.state.get("seen", 0) + 1
        assert model.params is not None
        return FLModel(params={"w": model.params["w"] + np.float32(random.random() * site.state["seen"])})

    found = []
    for _ in range(2):  # as another worker, after one that was killed
        done = start(app(train)).work(order(spec))
        partial = PartialAverage.load(Path(spec.custom) / "partial")
        found.append((msgspec.to_builtins(done.results), partial.weight, partial.tensors["w"][0].tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize("call", ["is_running", "receive", "shutdown"])
def test_calls_of_the_other_api_say_why_they_are_wrong(call: str, start: Start) -> None:
    with pytest.raises(ConfigError, match=rf"{call}\(\) was called in a ClientApp, whose functions are given"):
        getattr(start(ClientApp()), call)()


def test_a_worker_says_at_which_site_it_is_and_that_outlives_it(spec: WorkerSpec, start: Start) -> None:
    seen: list[int] = []

    def train(model: FLModel, site: SiteContext) -> FLModel:
        seen.append(read_position(Path(spec.position)))
        return add_index(model, site)

    start(app(train)).work(order(spec))
    assert (seen, read_position(Path(spec.position))) == ([1, 2, 3], 0)


def test_a_worker_that_never_began_is_at_no_site(tmp_path: Path) -> None:
    assert read_position(tmp_path / "none") == 0
    Position(tmp_path / "position").set(2**40)
    assert read_position(tmp_path / "position") == 2**40
    Position(tmp_path / "position")
    assert read_position(tmp_path / "position") == 0
