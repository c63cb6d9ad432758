"""Reads the stores of the three backends without the plugins: one ``Stored`` per site."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ..plugins.wandb.offline_run import OfflineRun, read_runs  # noqa: TID252 - tests are no package to name


@dataclass
class Stored:
    """What a backend keeps of one site.

    Attributes:
        metrics: (step, value) by key, in the order of the store.
        params: As text, by key.
        tags: By key.
        texts: By key, or by path where the backend keeps texts as files.
        pages: Texts that W&B shows as HTML, by key.
        images: How many, by key.
        histograms: The sum of the counts of each, by key.
        files: Content by path.
    """

    metrics: defaultdict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    texts: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    pages: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    images: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    histograms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, bytes] = field(default_factory=dict)

    def values(self, key: str) -> list[float]:
        return [value for _, value in self.metrics[key]]

    @property
    def points(self) -> int:
        return sum(map(len, self.metrics.values()))


def read_mlflow(database: Path, experiment: str | None = None) -> dict[str, Stored]:
    """Return the runs of an MLflow SQLite file, of all experiments or of one."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        query = (
            "SELECT run_uuid, artifact_uri FROM runs r JOIN experiments e USING (experiment_id) WHERE ? IN (e.name, '')"
        )
        return dict(_mlflow_run(store, *row) for row in store.execute(query, (experiment or "",)))


def _mlflow_run(store: sqlite3.Connection, run: str, artifact_uri: str) -> tuple[str, Stored]:
    found = Stored()
    # The rowid is the order of arrival.
    for key, step, value in store.execute(
        "SELECT key, step, value FROM metrics WHERE run_uuid=? ORDER BY rowid", [run]
    ):
        found.metrics[key].append((step, value))
    found.params = dict(store.execute("SELECT key, value FROM params WHERE run_uuid=?", [run]))
    tags = dict(store.execute("SELECT key, value FROM tags WHERE run_uuid=?", [run]))
    found.tags = {key: value for key, value in tags.items() if not key.startswith(("mlflow.", "fedtrack."))}
    folder = Path(unquote(urlparse(artifact_uri).path))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        _mlflow_file(found, path.relative_to(folder), path.read_bytes())
    return tags["fedtrack.site"], found


def _mlflow_file(found: Stored, path: Path, data: bytes) -> None:
    key = "/".join(path.parts[1:-1])
    match path.parts[0]:
        case "text":
            found.texts[key].append(data.decode())
        case "images":
            found.images[key] += 1
        case "histograms":
            found.histograms[key].append(sum(json.loads(data)["counts"]))
        case _:
            found.files[str(path)] = data


def read_tensorboard(folder: Path) -> dict[str, Stored]:
    """Return the runs below a TensorBoard log folder; further passes count to their site."""
    return {site.name: _tensorboard_run(site) for site in sorted(folder.iterdir())}


def _tensorboard_run(site: Path) -> Stored:
    found = Stored()
    for folder in [site, *sorted(site.glob("pass-*"))]:
        kinds = ("scalars", "images", "histograms", "tensors")
        events = EventAccumulator(str(folder), size_guidance=dict.fromkeys(kinds, 0)).Reload()
        tags = events.Tags()
        for tag in tags["scalars"]:
            found.metrics[tag] += [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in tags["images"]:
            found.images[tag] += len(events.Images(tag))
        for tag in tags["histograms"]:
            found.histograms[tag] += [event.histogram_value.num for event in events.Histograms(tag)]
        for tag in tags["tensors"]:
            _tensorboard_texts(found, tag, events)
    found.files = _tensorboard_files(site)
    return found


def _tensorboard_files(site: Path) -> dict[str, bytes]:
    folder = site / "artifacts"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _tensorboard_texts(found: Stored, tag: str, events: Any) -> None:
    texts = [
        event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag) if event.tensor_proto.string_val
    ]
    match events.SummaryMetadata(tag).summary_description:
        case "Parameter":
            found.params[tag.removeprefix("params/")] = texts[-1].strip()
        case "Tag":
            found.tags[tag.removeprefix("tags/")] = texts[-1].strip()
        case _ if not tag.startswith("_hparams_/"):
            found.texts[tag] += texts


def read_wandb(folder: Path) -> dict[str, Stored]:
    """Return the runs that W&B keeps offline below ``<folder>/wandb``."""
    runs = read_runs(folder).values()
    return {run.config["fedtrack"]["site"]: _wandb_run(run) for run in runs}


def _wandb_run(run: OfflineRun) -> Stored:
    found = Stored()
    for row in run.rows:
        for key, value in _logged(row):
            if isinstance(value, dict) and value["_type"] == "html-file":
                found.pages[key].append(_plain((run.files[0].parent / "files" / value["path"]).read_text()))
            else:
                _wandb_value(found, key, row.get("global_step", row["_step"]), value)
    for key, value in run.config.items():
        if key.startswith("tags/"):
            found.tags[key.removeprefix("tags/")] = value
        elif key not in ("fedtrack", "_wandb"):
            found.params[key] = str(value)
    for file in run.files:
        artifacts = file.parent / "files" / "artifacts"
        for path in sorted(path for path in artifacts.rglob("*") if path.is_file()):
            found.files[str(path.relative_to(artifacts))] = path.read_bytes()
    return found


def _logged(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    media = {key.removesuffix("._type") for key in row if key.endswith("._type")}
    for key, value in row.items():
        if not key.startswith("_") and key != "global_step" and key.rpartition(".")[0] not in media:
            yield key, value
    for name in media:
        yield name, {key.removeprefix(f"{name}."): row[key] for key in row if key.startswith(f"{name}.")}


def _plain(page: str) -> str:
    return unescape(page.partition("<pre>")[2].partition("</pre>")[0])


def _wandb_value(found: Stored, key: str, step: Any, value: Any) -> None:
    match value:
        case str():
            found.texts[key].append(value)
        case {"_type": "image-file"}:
            found.images[key] += 1
        case {"_type": "histogram", "values": counts}:
            found.histograms[key].append(sum(counts))
        case _:
            found.metrics[key].append((step, value))
