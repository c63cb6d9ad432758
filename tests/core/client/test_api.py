"""The client API: what a script asks is asked of its backend, and ``log`` never ends a training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import fedtrack.client as flare
from fedtrack.client import FLModel, api, backend
from fedtrack.errors import ConfigError
from fedtrack.testing import MemoryLog
from fedtrack.tracking.records import Metric, Param, Rejected, Tag, Text


class Scripted:
    """A backend with a list of tasks."""

    site_name, job_id, config = "site-1", "run-7", {"script": "client.py"}

    def __init__(self, *tasks: str) -> None:
        self.tasks = list(tasks)
        self.sent: list[FLModel] = []
        self.waited: list[float | None] = []

    @property
    def task_name(self) -> str:
        return self.tasks[0] if self.tasks else ""

    def is_running(self) -> bool:
        return bool(self.tasks)

    def receive(self, timeout: float | None = None) -> FLModel | None:
        self.waited.append(timeout)
        return FLModel() if self.tasks else None

    def send(self, model: FLModel) -> None:
        self.sent.append(model)
        self.tasks.pop(0)

    def shutdown(self) -> None:
        self.tasks.clear()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    found = Scripted("train", "validate", "submit_model")
    backend.use(found)
    yield found
    backend.use(None)


def test_a_scripts_loop_sees_each_task_for_what_it_is(scripted: Scripted) -> None:
    seen = []
    flare.init(rank=0, config_file="flare.json")
    while flare.is_running():
        seen.append((flare.get_task_name(), flare.is_train(), flare.is_evaluate(), flare.is_submit_model()))
        model = flare.receive(timeout=5)
        assert model is not None
        flare.send(model, clear_cache=False)
    assert seen == [
        ("train", True, False, False),
        ("validate", False, True, False),
        ("submit_model", False, False, True),
    ]
    assert (len(scripted.sent), scripted.waited) == (3, [5, 5, 5])
    assert flare.receive() is None


def test_a_script_knows_who_it_is_and_cannot_change_the_job(scripted: Scripted) -> None:
    assert flare.system_info() == {"job_id": "run-7", "site_name": "site-1"}
    flare.get_config()["script"] = "other.py"
    assert flare.get_config() == {"script": "client.py"}


def test_shutdown_is_the_end(scripted: Scripted) -> None:
    flare.shutdown()
    assert not flare.is_running()


def test_init_says_at_once_that_there_is_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(backend.BACKEND_VARIABLE, raising=False)
    backend.use(None)
    with pytest.raises(ConfigError, match="does not belong to a fedtrack job"):
        flare.init()


def test_every_call_of_flares_scripts_takes_its_ctx() -> None:
    calls = [call for name, call in vars(api).items() if inspect.isfunction(call) and call.__module__ == api.__name__]
    public = [call for call in calls if not call.__name__.startswith("_")]
    assert {call.__name__ for call in public if "ctx" not in inspect.signature(call).parameters} == {"init"}


@pytest.mark.parametrize(
    ("key", "value", "data_type", "expected"),
    [
        ("loss", 0.5, None, [(Metric, "loss", 0.5)]),
        ("loss", 0.5, "SCALAR", [(Metric, "loss", 0.5)]),
        ("ignored", {"a": 1, "b": 2.5}, "METRICS", [(Metric, "a", 1.0), (Metric, "b", 2.5)]),
        ("lr", 0.1, "PARAMETER", [(Param, "lr", 0.1)]),
        ("ignored", {"lr": 0.1}, "parameters", [(Param, "lr", 0.1)]),
        ("note", "good", "TEXT", [(Text, "note", "good")]),
        ("phase", "warm", "TAG", [(Tag, "phase", "warm")]),
    ],
)
def test_log_records_what_it_is_given(
    key: str, value: Any, data_type: Any, expected: list[Any], memory_log: MemoryLog
) -> None:
    flare.log(key, value, data_type, global_step=3)
    found = [
        (type(r), r.key, r.text if isinstance(r, Text) else r.value)
        for r in memory_log.records
        if isinstance(r, Metric | Param | Tag | Text)
    ]
    assert found == expected


def test_a_value_that_is_none_is_counted_and_ends_nothing(memory_log: MemoryLog) -> None:
    flare.log("loss", "high")
    assert [type(record) for record in memory_log.records] == [Rejected]


def test_both_names_of_a_step_are_understood(memory_log: MemoryLog) -> None:
    flare.log("a", 1.0, global_step=3)
    flare.log("a", 1.0, step=4)
    flare.log("a", 1.0, step=4, global_step=0)
    assert [record.step for record in memory_log.records if isinstance(record, Metric)] == [3, 4, 0]
