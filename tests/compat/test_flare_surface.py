"""FLARE's calls, one by one: same names, same order, same defaults."""

from __future__ import annotations

import inspect
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedtrack.client as flare
import fedtrack.client.tracking
import fedtrack.job
import fedtrack_mlflow
import fedtrack_tensorboard
import fedtrack_wandb
from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError
from fedtrack.job import ANALYTIC_EVENT_TYPE, FedAvg, FedAvgJob, FedJob, FrameworkType, PTModel, ScriptRunner
from fedtrack.testing import MemoryLog
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, Param, Record, Rejected, Tag, Text
from fedtrack.tracking.writer import bind

from .surface import CLIENT, JOB, KEYWORDS, LOG, RECEIVERS, WRITERS

#: Defaults in the tables that stand for something else than themselves.
NEEDED, OWN, FACTORY = object(), object(), object()


def expected(text: str) -> list[Parameter]:
    scope: dict[str, Any] = {"NEEDED": NEEDED, "OWN": OWN, "FACTORY": FACTORY}
    exec(f"def call{text}: ...", scope)  # noqa: S102 - the table is ours
    return list(inspect.signature(scope["call"]).parameters.values())


def parameters(call: Any) -> list[Parameter]:
    return list(inspect.signature(call).parameters.values())


def shown(items: list[Parameter]) -> str:
    return str(Signature([item.replace(annotation=Parameter.empty) for item in items]))


def find(name: str, home: Any) -> Any:
    for part in name.split("."):
        home = getattr(home, part)
    return home


@pytest.mark.parametrize("name", CLIENT)
def test_client_function_is_flares(name: str) -> None:
    text = CLIENT[name].replace("FACTORY", "None")
    found = [
        item.replace(default=None) if "factory" in repr(item.default) else item
        for item in parameters(getattr(flare, name))
    ]
    assert shown(found) == shown(expected(text))


def extends(found: list[Parameter], text: str) -> None:
    """Assert that every call that ``text`` allows is one that ``found`` allows, and means the same."""
    wanted = expected(text)
    assert [item.name for item in found[: len(wanted)]] == [item.name for item in wanted]
    for ours, theirs in zip(found, wanted, strict=False):
        assert ours.kind is Parameter.POSITIONAL_OR_KEYWORD
        if theirs.default not in (NEEDED, OWN):
            assert ours.default == theirs.default, ours.name
    for added in found[len(wanted) :]:
        assert added.kind is Parameter.VAR_KEYWORD or added.default is not Parameter.empty, added.name


#: An argument of each name that FLARE's writers have.
ARGUMENTS = {
    "tag": "loss",
    "scalar": 0.5,
    "scalars": {"a": 0.5},
    "global_step": 3,
    "key": "loss",
    "value": 0.5,
    "values": {"lr": 0.1},
    "metrics": {"loss": 0.5},
    "step": 3,
    "text": "hello",
    "artifact_file_path": "note.txt",
    "tags": {"team": "a"},
}


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by position"])
@pytest.mark.parametrize("name", WRITERS)
def test_writer_takes_flares_calls(name: str, by_name: bool, tmp_path: Path) -> None:
    """The writers have the argument names of their namesakes; FLARE's are taken too, and mean the same."""
    assert Parameter.VAR_KEYWORD not in [item.kind for item in parameters(find(name, fedtrack.client.tracking))]
    kind, _, method = name.partition(".")
    names = [item.name for item in expected(WRITERS[name])[1:]]
    log = MemoryLog(tmp_path)
    before = bind(log)
    try:
        call = getattr(find(kind, fedtrack.client.tracking)(), method)
    finally:
        bind(before)
    values = [ARGUMENTS[one] for one in names]
    call(**dict(zip(names, values, strict=True))) if by_name else call(*values)
    assert bool(log.records) is (method != "flush")
    assert not [record for record in log.records if isinstance(record, Rejected)]


def test_log_takes_flares_calls() -> None:
    extends(parameters(flare.log), LOG["log"])


@pytest.mark.parametrize("name", JOB)
def test_job_takes_flares_calls(name: str) -> None:
    extends(parameters(find(name, fedtrack.job)), JOB[name])


@pytest.mark.parametrize("name", RECEIVERS)
def test_receiver_takes_flares_calls(name: str) -> None:
    homes = (fedtrack_mlflow, fedtrack_wandb, fedtrack_tensorboard)
    (receiver,) = (getattr(home, name) for home in homes if hasattr(home, name))
    extends(parameters(receiver), RECEIVERS[name])
    positions = [item.default for item in parameters(receiver)]
    events = [item.name for item in parameters(receiver)].index("events")
    values = [{} if index == 0 and name == "WandBReceiver" else value for index, value in enumerate(positions[:events])]
    assert receiver(*values, [ANALYTIC_EVENT_TYPE]).options.events == ["analytix_log_stats"]


@pytest.mark.parametrize("name", KEYWORDS)
def test_keywords_are_flares(name: str) -> None:
    assert KEYWORDS[name] <= inspect.signature(getattr(fedtrack.job, name)).parameters.keys()


def test_names_that_scripts_compare_with() -> None:
    assert (flare.ModelName.BEST_MODEL, flare.ModelName.FINAL_MODEL) == ("best_model", "final_model")
    assert (flare.ParamsType.FULL, flare.ParamsType.DIFF) == ("FULL", "DIFF")
    assert (flare.MetaKey.NUM_STEPS_CURRENT_ROUND, flare.MetaKey.SUBMIT_MODEL_NAME) == (
        "NUM_STEPS_CURRENT_ROUND",
        "submit_model_name",
    )
    assert ANALYTIC_EVENT_TYPE == "analytix_log_stats"
    assert (FrameworkType.PYTORCH, FrameworkType.NUMPY) == ("pytorch", "numpy")


def test_model_attributes_are_flares() -> None:
    model = FLModel(None, {"w": np.zeros(1)}, None, {"accuracy": 0.5}, 0, 3, 5, {"NUM_STEPS_CURRENT_ROUND": 7})
    assert (model.params_type, model.current_round, model.total_rounds, model.meta) == (
        flare.ParamsType.FULL,
        3,
        5,
        {"NUM_STEPS_CURRENT_ROUND": 7},
    )


@pytest.fixture
def logged(tmp_path: Path) -> Any:
    class ListLog(list[Record]):
        blobs = BlobStore(tmp_path)

    log = ListLog()
    previous = bind(log)
    yield log
    bind(previous)


@pytest.mark.parametrize(
    ("arguments", "keywords", "kind", "fields"),
    [
        (("k", 0.5), {}, Metric, [("k", 0.5, None, None)]),
        (("k", 0.5, "SCALAR"), {"global_step": 3}, Metric, [("k", 0.5, 3, None)]),
        (("k", 0.5, flare.AnalyticsDataType.METRIC, None), {"step": 0}, Metric, [("k", 0.5, 0, None)]),
        (("k", {"a": 1, "b": 2}, "SCALARS"), {"global_step": 3}, Metric, [("a", 1.0, 3, None), ("b", 2.0, 3, None)]),
        (("k", {"a": 1}, "metrics"), {}, Metric, [("a", 1.0, None, None)]),
        (("k", 0.5, "PARAMETER"), {}, Param, [("k", 0.5)]),
        (("k", {"a": 1, "b": "x"}, "PARAMETERS"), {}, Param, [("a", 1), ("b", "x")]),
        (("k", "words", "TEXT"), {"step": 1}, Text, [("k", "words", 1)]),
        (("k", "v", "TAG"), {}, Tag, [("k", "v")]),
        (("k", {"a": 1}, "TAGS"), {}, Tag, [("a", "1")]),
    ],
)
def test_log_takes_every_data_type(
    arguments: Any, keywords: Any, kind: type[Record], fields: Any, logged: list[Any]
) -> None:
    flare.log(*arguments, **keywords)
    assert [type(record) for record in logged] == [kind] * len(fields)
    assert [tuple(getattr(r, name) for name in r.__struct_fields__[1:]) for r in logged] == fields


@pytest.mark.parametrize("data_type", ["PARAMETERS", "SCALARS", "TAGS"])
def test_log_counts_what_is_no_mapping(data_type: str, logged: list[Any]) -> None:
    flare.log("k", 5, data_type)
    assert [type(record) for record in logged] == [Rejected]
    assert "a mapping" in logged[0].reason


@pytest.mark.usefixtures("logged")
def test_wrong_keywords_are_errors() -> None:
    with pytest.raises(TypeError, match="steps"):
        flare.log("k", 1.0, "SCALAR", steps=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="data_type='MODEL'; valid are SCALAR"):
        flare.log("k", 1.0, "MODEL")
    writer = fedtrack_tensorboard.SummaryWriter()
    with pytest.raises(TypeError, match="step"):
        writer.add_scalar("k", 1.0, step=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="epoch"):
        writer.add_scalars("k", {"a": 1.0}, epoch=3)  # type: ignore[call-arg]


def test_model_is_placed_with_one_call() -> None:
    job = FedJob(name="fedavg")
    ids = job.to(PTModel({"w": np.zeros(2, np.float32)}), "server")
    assert ids == {"persistor_id": "persistor"}
    job.to_server(FedAvg(num_clients=2, num_rounds=1, persistor_id=ids["persistor_id"]))
    assert list(job.placed["server"]) == ["persistor", "controller"]


def test_model_takes_the_place_that_a_job_has_for_it() -> None:
    job = FedAvgJob(n_clients=1, name="fedavg")
    before = list(job.placed["server"])
    assert job.to_server(PTModel("model.py:Net")) == {"persistor_id": "persistor"}
    assert list(job.placed["server"]) == before
    with pytest.raises(ConfigError, match="has an initial model already"):
        job.to_server(PTModel("model.py:Net"))


def test_model_belongs_to_the_server() -> None:
    with pytest.raises(ConfigError, match="A PTModel cannot be placed"):
        FedJob().to(PTModel("model.py:Net"), "site-1")
    with pytest.raises(ConfigError, match="holds no model"):
        FedJob().to_server(PTModel(None))


def test_script_runner_takes_flares_positions() -> None:
    runner = ScriptRunner("train.py", "--lr 1", True, "python3 -u", FrameworkType.NUMPY)
    assert (runner.launch_external_process, runner.command, runner.framework) == (True, "python3 -u", "numpy")
