"""Schema: no field of a job file can be edited without an effect, a refusal or a warning."""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import logging
import re
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fedtrack_examples
from fedtrack.errors import FedtrackError
from fedtrack.job import CrossSiteEval, FedAvg, FedAvgJob, FedJob, ScriptRunner
from fedtrack.job.components import COMPONENTS
from fedtrack.job.config import CLIENT_FILE, SERVER_FILE
from fedtrack.job.export import export_job
from fedtrack.job.load import load_job
from fedtrack.job.meta import Meta
from fedtrack.job.schema import FILES, job_schema
from fedtrack.job.workflows import DESCRIBED
from fedtrack_mlflow import MLflowReceiver
from fedtrack_wandb import WandBReceiver

ROOT = Path(__file__).parents[3]
EXAMPLES = {example.name: example.folder for example in fedtrack_examples.fedtrack_examples()}

#: Fields that name something, and so change nothing by themselves: an id tells two components apart. Tasks must be all
#: those that the workflows ask for; two such lists mean the same.
LABELS = ("id", "tasks")


#: Arguments that an export leaves out, because only FLARE has them.
OMITTED = sorted({name for cls in [*COMPONENTS.values(), *DESCRIBED.values()] for name in cls.ignored})


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Exported jobs: those of all examples, and one with everything that the examples do not have."""
    root = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch:
        ended = SimpleNamespace(exit_code=0)
        patch.setattr(FedJob, "simulator_run", lambda job, *_, **__: exported(job, root) and ended)
        for folder in EXAMPLES.values():
            patch.syspath_prepend(str(folder))
            with pytest.raises(SystemExit, match=r"^0$"):
                runpy.run_path(str(folder / "job.py"))["main"](workspace=str(root / "ws"))
        (root / "client.py").write_text("")
        patch.chdir(root)
        job = FedAvgJob({"w": np.zeros(1)}, 3, 2, "everything", min_clients=2, mandatory_clients=["site-2"])
        job.to_server(CrossSiteEval(participating_clients=["site-1", "site-3"]))
        job.to_server(FedAvg(num_clients=2, start_round=2, seed=4))
        job.to_server(
            MLflowReceiver(kw_args={"run_name": "r", "experiment_tags": {"a": "b"}}, artifact_location="here")
        )
        job.to_server(WandBReceiver({"project": "p", "tags": ["x"]}))
        job.to_clients(ScriptRunner("client.py", script_args="--lr 1", launch_external_process=True))
        job.to(MLflowReceiver(events=["analytix_log_stats"]), "site-1")
        exported(job, root)
    return sorted(path.parent for path in root.glob("*/meta.json"))


def exported(job: FedJob, root: Path) -> Path:
    return export_job(job, root, lambda _, target: target.write_bytes(b"a model"))


def content(folder: Path) -> Any:
    """Return everything that a reader of the job is told."""
    job = load_job(folder)
    options = {id_: (item.name, msgspec.to_builtins(item.options)) for id_, item in job.receivers.items()}
    sites = [
        msgspec.to_builtins(
            {
                **{name: getattr(site, name) for name in ("name", "script_args", "streams_to_server")},
                "script": str(site.script),
                "runner": msgspec.to_builtins(site.runner),
                "client_app": msgspec.to_builtins(site.client_app),
                "receivers": {id_: msgspec.to_builtins(item.options) for id_, item in site.receivers.items()},
            }
        )
        for site in job.sites
    ]
    workflows = {id_: (type(item).__name__, msgspec.to_builtins(item)) for id_, item in job.workflows.items()}
    rest = [msgspec.to_builtins(item) for item in (job.meta, job.selector, job.results_json)]
    return [rest, workflows, options, sites, str(job.initial_model)]


@cache
def content_once(folder: Path) -> Any:
    return content(folder)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in a JSON document, and of the arguments that an export leaves out."""
    if place:
        yield place
    if place[-1:] == ("args",):
        yield from ((*place, name) for name in OMITTED)
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*place, key))


def put(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    found = copy.deepcopy(document)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return found


#: Values of every kind of JSON: those that are often wrong, and those that are often right.
NUMBERS: list[Any] = [None, True, False, -1, 0, 1, 2, 3, 9, 2**70, -0.5, 0.25, 1e308]
TEXTS = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "/etc",
    "a",
    "site-1",
    "site-9",
    "server",
    "@ALL",
    "x" * 5000,
    "a\0b",
    "'",
    "*",
    "é",
]
LISTS: list[Any] = [
    [],
    [""],
    ["nobody"],
    ["site-1"],
    ["@ALL"],
    [[]],
    ["site-1", "site-1"],
    ["validate"],
    [{}],
    {},
    {"a": 1},
]
ODD = st.sampled_from([*NUMBERS, *TEXTS, "${ENV:PATH}", "numpy", "min", "disk", ["train"], *LISTS])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that a schema allows."""
    if "anyOf" in schema:
        return st.one_of([values(item) for item in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "integer":
            return st.integers(schema.get("minimum", 0), schema.get("minimum", 0) + 2**21)
        case "number":
            return st.floats(0.001, schema.get("maximum", 1e6))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return st.from_regex(schema.get("pattern", "[a-z0-9_/ -]{1,9}"), fullmatch=True)
        case "array":
            return st.lists(values(schema.get("items", {})), max_size=2)
    return ODD


def schema_at(file: str, document: Any, place: tuple[Any, ...]) -> dict[str, Any]:
    """Return the schema of a place in a file; {} where any value may be."""
    schema: dict[str, Any] = job_schema_once()[file]
    for depth, key in enumerate(place):
        inner = document
        for step in place[:depth]:
            inner = inner[step]
        if "anyOf" in schema and isinstance(inner, dict) and "path" in inner:
            fits = [item for item in schema["anyOf"] if inner["path"] in item["properties"]["path"]["enum"]]
            schema = fits[0] if fits else {}
        if isinstance(key, int):
            schema = schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(key, schema.get("additionalProperties") or {})
        schema = schema if isinstance(schema, dict) else {}
    return schema


@cache
def job_schema_once() -> dict[str, dict[str, Any]]:
    return job_schema()


@pytest.mark.slow
@settings(
    deadline=None, derandomize=True, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_field_can_be_edited_in_silence(
    jobs: list[Path], data: st.DataObject, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder = data.draw(st.sampled_from(jobs), "job")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json"))
    name = data.draw(st.sampled_from(files), "file")
    text = (folder / name).read_text()
    document = json.loads(text)
    place = data.draw(st.sampled_from(list(places(document))), "place")
    kind = next(file for file in FILES if name.endswith(file))
    value = data.draw(values(schema_at(kind, document, place)) | ODD, "value")
    edited = put(document, place, value)
    if edited == document or json.dumps(edited) == text:
        return
    before = content_once(folder)
    caplog.clear()
    try:
        (folder / name).write_text(json.dumps(edited))
        with contextlib.suppress(FedtrackError), caplog.at_level(logging.WARNING):
            after = content(folder)
            told = [record for record in caplog.records if record.levelno >= logging.WARNING]
            label = any(key in LABELS for key in place)
            assert after != before or told or label, f"{folder.name}/{name}: {place} = {value!r} changes nothing"
    finally:
        (folder / name).write_text(text)


#: The Python types of JSON's; a bool is no number.
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Return whether a schema allows ``value``: the keywords of JSON Schema that the schemas here use."""
    if "anyOf" in schema:
        return any(fits(item, value) for item in schema["anyOf"])
    kinds = KINDS.get(schema.get("type", ""), (object,))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, list):
        return len(value) <= schema.get("maxItems", len(value)) and all(
            fits(schema.get("items", {}), item) for item in value
        )
    if isinstance(value, dict):
        others, known = schema.get("additionalProperties", {}), schema.get("properties", {})
        return set(schema.get("required", [])) <= value.keys() and all(
            fits(known[key], item) if key in known else others is not False and fits(others or {}, item)
            for key, item in value.items()
        )
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None and len(value) >= schema.get("minLength", 0)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value) and not (
            value <= schema.get("exclusiveMinimum", value - 1)
        )
    return True


def test_what_is_exported_is_what_the_schema_says(jobs: list[Path]) -> None:
    assert len(jobs) == len(EXAMPLES) + 1
    for folder in jobs:
        for path in folder.rglob("*.json"):
            (kind,) = [file for file in FILES if str(path).endswith(file)]
            assert fits(job_schema_once()[kind], json.loads(path.read_text())), path


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("meta.json", {"colour": "red"}),
        ("meta.json", {"min_clients": 0}),
        ("meta.json", {"name": "../x"}),
        ("meta.json", {"durability": "tape"}),
        (SERVER_FILE, {"workflows": [{"id": "a", "path": "os.system"}]}),
        (
            "config/config_fed_server.json",
            {"workflows": [{"id": "a", "path": "FedAvg", "args": {"persistor_id": "x"}}]},
        ),
        (SERVER_FILE, {"components": [{"id": "a", "path": "ConvertToFedEvent"}]}),
        (SERVER_FILE, {"task_data_filters": [{}]}),
        (CLIENT_FILE, {"executors": [{"executor": {"path": "ScriptRunner"}}]}),
        (CLIENT_FILE, {"components": [{"id": "", "path": "ConvertToFedEvent"}]}),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(jobs: list[Path], file: str, change: dict[str, Any]) -> None:
    (path,) = [path for path in jobs[0].rglob("*.json") if str(path).endswith(file)][:1]
    document = json.loads(path.read_text())
    assert not fits(job_schema_once()[file], document | change)
    text = path.read_text()
    try:
        path.write_text(json.dumps(document | change))
        with pytest.raises(FedtrackError):
            load_job(jobs[0])
    finally:
        path.write_text(text)


def test_a_job_of_an_example_loads_without_a_warning(jobs: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    for folder in jobs:
        load_job(folder)
    assert caplog.text == ""


@cache
def read_names() -> set[str]:
    """Return the names of all attributes that the code of core and of the local engine reads to do something.

    A check of a value is no use of it, and neither is a sentence about it.
    """
    found: set[str] = set()
    for path in [*(ROOT / "core/src").rglob("*.py"), *(ROOT / "plugins/local/src").rglob("*.py")]:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (
                node.name in ("__post_init__", "without_effect", "remarks") or node.name.startswith(("check", "_check"))
            ):
                node.body = []
        found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found


@pytest.mark.parametrize("cls", [Meta, *COMPONENTS.values(), *DESCRIBED.values()])
def test_every_field_is_used_by_something(cls: Any) -> None:
    fields = set(cls.__struct_fields__) - getattr(cls, "ignored", frozenset()) - {"format_version"}
    assert fields <= read_names()
