"""fedtrack-flower: a whole federation of Flower, with its own messages, strategy and apps, in this process.

Only the network is missing: the grid calls the client app itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="Flower has an environment of its own: make flower-env")

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from fedtrack import Writer
from fedtrack_flower import fedtrack_mod, runs, track
from support.spooled import logged_metrics

NODES = {11: {"partition-id": 0}, 22: {"partition-id": 1}, 33: {"fedtrack-site": "hospital-c"}}


class LocalGrid(Grid):
    """Carries messages to a client app in this process, each node in a thread of its own.

    A strategy calls ``get_node_ids`` and ``send_and_receive`` only; a call of another method is a change in Flower.
    """

    def __init__(self, app: ClientApp, run_config: dict[str, Any]) -> None:
        self._app = app
        self._config = run_config
        self.failing: set[int] = set()

    def set_run(self, run: Any) -> None:
        self._run = run

    @property
    def run(self) -> Any:
        return self._run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        pytest.fail("a strategy calls this now")

    def get_node_ids(self) -> Iterable[int]:
        return list(NODES)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pytest.fail("a strategy calls this now")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        pytest.fail("a strategy calls this now")

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        answers: dict[int, Message] = {}

        def work(message: Message) -> None:
            node = message.metadata.dst_node_id
            context = Context(7, node, NODES[node], RecordDict(), self._config)
            answers[node] = self._app(message, context)

        threads = [threading.Thread(target=work, args=(message,)) for message in messages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answers[node] for node in sorted(answers)]  # a sum of floats depends on its order


def new_app(mods: list[Any]) -> ClientApp:
    app = ClientApp(mods=mods)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        writer = Writer()
        for step in range(5):
            writer.record_metric("loss", 1 / (step + 1 + context.node_id), step)
        arrays = [array + 1 for array in message.content["arrays"].to_numpy_ndarrays()]
        metrics = MetricRecord({"num-examples": 10, "train_loss": float(context.node_id)})
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 10, "accuracy": 0.5, "per_class": [0.25, 0.75]})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("URL", "SITE", "RUN", "TOKEN"):
        monkeypatch.delenv(f"FEDTRACK_{name}", raising=False)
    with contextlib.suppress(ImportError):  # from version 1.42 on, a message needs to know whose it is
        from flwr.supercore.task_identity import TaskIdentity

        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 0
    runs._connected.clear()
    yield
    for run in runs._connected.values():
        if run is not None:
            run.finish()
    runs._connected.clear()


def play(config: dict[str, Any], mods: list[Any] | None = None, rounds: int = 2) -> Any:
    context = Context(7, 0, {}, RecordDict(), config)
    strategy = track(FedAvg(min_available_nodes=3), context)
    grid = LocalGrid(new_app([fedtrack_mod] if mods is None else mods), config)
    result = strategy.start(grid=grid, initial_arrays=ArrayRecord([np.zeros(3)]), num_rounds=rounds)
    for run in runs._connected.values():
        if run is not None:
            run.finish()
    return result


def spool(folder: Path, site: str) -> Path:
    return folder / "runs" / "flower-7" / site / "simulate_job" / "spool"


def test_every_node_logs_in_mid_round_under_its_own_name(tmp_path: Path) -> None:
    play({"fedtrack-url": str(tmp_path)})
    for site, node in (("node-0", 11), ("node-1", 22), ("hospital-c", 33)):
        found = logged_metrics(spool(tmp_path, site))
        losses = [(round_, step, value) for key, value, step, round_ in found if key == "loss"]
        assert losses == [(round_, step, 1 / (step + 1 + node)) for round_ in (1, 2) for step in range(5)]
        replies = [(key, value, step) for key, value, step, _ in found if key != "loss"]
        assert ("train/train_loss", float(node), 1) in replies
        assert ("evaluate/accuracy", 0.5, 2) in replies
        assert ("evaluate/per_class/1", 0.75, 2) in replies


def test_the_server_says_who_was_asked_and_what_came_back(tmp_path: Path) -> None:
    play({"fedtrack-url": str(tmp_path)})
    found = {(key, step): value for key, value, step, _ in logged_metrics(spool(tmp_path, "serverapp"))}
    assert found["train/train_loss", 1] == pytest.approx(22.0)
    assert found["evaluate/accuracy", 2] == 0.5
    for round_ in (1, 2):
        assert (found["train/asked", round_], found["train/answered", round_], found["train/failed", round_]) == (
            3,
            3,
            0,
        )
        for node in NODES:
            assert found[f"train/node/{node}/seconds", round_] >= 0
            assert found[f"train/node/{node}/bytes", round_] > 24


def test_tracking_changes_nothing_of_the_result(tmp_path: Path) -> None:
    tracked = play({"fedtrack-url": str(tmp_path)})
    plain = FedAvg(min_available_nodes=3).start(
        grid=LocalGrid(new_app([_bound(tmp_path)]), {}),
        initial_arrays=ArrayRecord([np.zeros(3)]),
        num_rounds=2,
    )
    assert [list(array) for array in tracked.arrays.to_numpy_ndarrays()] == [
        list(array) for array in plain.arrays.to_numpy_ndarrays()
    ]


def _bound(folder: Path) -> Any:
    """Return a mod that binds without logging of its own, for a comparison."""
    import fedtrack

    def mod(message: Message, context: Context, call_next: Any) -> Message:
        with fedtrack.connect(folder / "plain", site=f"n{context.node_id}", run="plain") as run, run.bound():
            return call_next(message, context)

    return mod


def test_without_a_collector_the_app_runs_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    strategy = track(FedAvg(min_available_nodes=3), Context(7, 0, {}, RecordDict(), {}))
    assert "serverapp of run flower-7 is not tracked" in caplog.text
    app = ClientApp(mods=[fedtrack_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(
            RecordDict({"arrays": message.content["arrays"], "m": MetricRecord({"num-examples": 1})}), reply_to=message
        )

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return Message(RecordDict({"m": MetricRecord({"num-examples": 1})}), reply_to=message)

    result = strategy.start(grid=LocalGrid(app, {}), initial_arrays=ArrayRecord([np.zeros(3)]), num_rounds=1)
    assert list(result.train_metrics_clientapp) == [1]
    assert list(tmp_path.iterdir()) == []
