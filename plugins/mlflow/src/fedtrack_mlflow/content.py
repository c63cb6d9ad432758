"""Content: the records of a batch, sorted into metrics, parameters, tags and files, which MLflow stores separately."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fedtrack.tracking import BlobStore
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_mlflow import points
from fedtrack_mlflow.keys import encode_path

if TYPE_CHECKING:
    from mlflow import entities

    from fedtrack_mlflow.site_run import SiteRun

#: The most characters that MLflow stores of a parameter's and of a tag's value.
PARAM_LIMIT = 6_000
TAG_LIMIT = 8_000

_EXTENSIONS = {"png": "png", "jpeg": "jpg"}


@dataclass(frozen=True, slots=True)
class File:
    """An artifact to upload.

    Attributes:
        index: Position of its record in the batch, from 0.
        path: A relative path that MLflow accepts.
        read: Returns the bytes; raises DamagedError if they are missing or changed.
    """

    index: int
    path: str
    read: Callable[[], bytes]


@dataclass
class Content:
    """The content of one batch for one run, in the order of its records.

    Attributes:
        metrics: Points; equal ones appear once.
        params: Names and values; no name appears twice.
        tags: Names and values; the last value counts.
        files: Artifacts; a later one for the same path replaces the earlier one.
        names: Tags with the table of names, if it has changed; they are stored first.
    """

    metrics: list[entities.Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def sort(records: Sequence[Record], run: SiteRun, blobs: BlobStore) -> Content:
    """Return the content of ``records``, with the names that they have in ``run``."""
    content = Content()
    for index, record in enumerate(records):
        if isinstance(record, Metric):
            name = run.metric_name(record.key)
            content.metrics.append(points.point(record, name, run.started_ms))
        elif isinstance(record, Param):
            _add_param(content, index, record, run)
        elif isinstance(record, Tag):
            name = run.tag_name(record.key)
            content.tags[name] = _cut(content, index, record.value, TAG_LIMIT)
        else:
            content.files += _files(index, record, run.started_ms, blobs)
    content.names = run.names.changed_tags()
    content.metrics = points.distinct(content.metrics)
    return content


def _add_param(content: Content, index: int, record: Param, run: SiteRun) -> None:
    value = _cut(content, index, str(record.value), PARAM_LIMIT)
    name = run.param_name(record.key, value, record.time_ns)
    if name is not None:
        content.params[name] = value


def _cut(content: Content, index: int, value: str, limit: int) -> str:
    value = value.replace("\0", "\\x00")  # PostgreSQL refuses a whole batch because of one NUL
    if len(value) <= limit:
        return value
    data = value.encode()
    path = f"values/{hashlib.sha256(data).hexdigest()[:32]}.txt"
    content.files.append(File(index, path, lambda: data))
    ending = f"... [cut; the whole value is the artifact {path}]"
    return value[: limit - len(ending)] + ending


def _files(index: int, record: Record, started_ms: int, blobs: BlobStore) -> list[File]:
    """Return the artifacts of a record that is no metric, parameter or tag.

    A text or image without a step, whose key is the name of a file, is also the file of that name: the latest one,
    as with MLflow's own ``log_text`` and ``log_image``. The series keeps all of them.
    """
    if isinstance(record, Artifact):
        return [File(index, encode_path(record.path), lambda: blobs.read(record.data))]
    if not isinstance(record, Text | Image | Histogram):
        raise TypeError(f"{type(record).__name__} is no kind of record that MLflow holds")
    path = encode_path(record.key)
    step = points.elapsed_us(record.time_ns, started_ms) if record.step is None else record.step
    if isinstance(record, Histogram):
        return [File(index, f"histograms/{path}/{step}.json", lambda: _histogram(record))]
    if isinstance(record, Image):
        ending, read = _EXTENSIONS[record.format], lambda: blobs.read(record.data)
        series = File(index, f"images/{path}/{step}.{ending}", read)
        is_file = path.lower().endswith((f".{ending}", f".{record.format}"))
        return [series, File(index, path, read)] if record.step is None and is_file else [series]
    text = lambda: blobs.read_text(record.text).encode()  # noqa: E731 - the two files share it
    series = File(index, f"text/{path}/{step}.txt", text)
    if record.step is not None:
        return [series]
    return [series, File(index, path if PurePosixPath(path).suffix else f"{path}.txt", text)]


def _histogram(record: Histogram) -> bytes:
    content = {"edges": record.edges, "counts": record.counts, "step": record.step, "time_ns": record.time_ns}
    return json.dumps(content).encode()
