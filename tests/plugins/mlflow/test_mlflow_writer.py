"""MLflowWriter has the calls that FLARE's users write, and makes the right records of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack.tracking import writer as core
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Artifact, Metric, Param, Record, Rejected, Tag, Text
from fedtrack_mlflow import MLflowWriter


class Log(list[Record]):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.blobs = BlobStore(folder)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "blobs")
    before = core.bind(log)
    yield log
    core.bind(before)


def fields(record: Record) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__struct_fields__[1:])


def test_each_call_is_its_record(log: Log) -> None:
    writer = MLflowWriter()
    writer.log_param(key="lr", value=0.1)
    writer.log_params(values={"batch": 4, "amp": True})
    writer.log_metric(key="loss", value=0.5, step=3)
    writer.log_metric("loss", 0.4)
    writer.log_metrics(metrics={"a": 1, "b": 2}, step=4)
    writer.log_text(text="hello", artifact_file_path="notes/a.txt")
    writer.set_tag(key="phase", tag="train")
    writer.set_tags(tags={"x": "1", "y": 2})
    writer.flush()
    assert [(type(record), *fields(record)) for record in log] == [
        (Param, "lr", 0.1),
        (Param, "batch", 4),
        (Param, "amp", True),
        (Metric, "loss", 0.5, 3, None),
        (Metric, "loss", 0.4, None, None),
        (Metric, "a", 1.0, 4, None),
        (Metric, "b", 2.0, 4, None),
        (Text, "notes/a.txt", "hello", None),
        (Tag, "phase", "train"),
        (Tag, "x", "1"),
        (Tag, "y", "2"),
    ]


def test_artifacts_and_dictionaries_are_files(log: Log, tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(b"\x00weights")
    writer = MLflowWriter()
    writer.log_artifact(local_path=source)
    writer.log_artifact(str(source), artifact_path="models/")
    writer.log_dict(dictionary={"a": [1, Path("x")]}, artifact_file="config.json")
    assert [fields(record) for record in log[:2]] == [
        ("model.bin", b"\x00weights"),
        ("models/model.bin", b"\x00weights"),
    ]
    assert all(isinstance(record, Artifact) for record in log[:2])
    assert fields(log[2]) == ("config.json", '{\n  "a": [\n    1,\n    "x"\n  ]\n}', None)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("log_metric", {"key": "loss", "value": "high"}),
        ("log_metric", {"key": "", "value": 1.0}),
        ("log_metrics", {"metrics": [1.0]}),
        ("log_params", {"values": None}),
        ("set_tags", {"tags": "x"}),
        ("log_text", {"text": b"bytes", "artifact_file_path": "a.txt"}),
        ("log_dict", {"dictionary": {(1, 2): 3}, "artifact_file": "a.json"}),
        ("log_artifact", {"local_path": "/does/not/exist"}),
        ("log_artifact", {"local_path": None}),
        ("log_artifact", {"local_path": __file__, "artifact_path": "../up"}),
    ],
)
def test_a_bad_value_is_counted_and_never_raises(log: Log, method: str, arguments: dict[str, Any]) -> None:
    getattr(MLflowWriter(), method)(**arguments)
    assert [type(record) for record in log] == [Rejected]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("log_metric", {"key": "loss", "value": 1.0, "global_step": 3}),
        ("log_text", {"text": "x", "file": "a.txt"}),
        ("set_tag", {"name": "a", "value": "b"}),
    ],
)
def test_a_wrong_keyword_is_a_type_error(log: Log, method: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        getattr(MLflowWriter(), method)(**arguments)
    assert log == []
