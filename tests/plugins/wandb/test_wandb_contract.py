"""WandBReceiver keeps the laws of a receiver, read back from the files that W&B's SDK wrote."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedtrack.testing import ReceiverContract, Stored
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Tag, Text
from fedtrack_wandb.names import STEP_KEY, TAG_PREFIX, decode
from fedtrack_wandb.receiver import WandBReceiver

from .offline_run import OfflineRun, read_runs

OWN_KEYS = {STEP_KEY, "_timestamp", "_step", "_runtime"}


class TestWandBReceiver(ReceiverContract):
    idempotent = False  # in one process it is; after a restart W&B has nothing to recognise a row by
    time_resolution_ns = 500  # float64 seconds

    def make_receiver(self) -> WandBReceiver:
        return WandBReceiver()

    def make_unreachable_receiver(self) -> WandBReceiver:
        return WandBReceiver(mode="online")  # without credentials

    def read(self, folder: Path) -> list[Stored]:
        return [stored for run in read_runs(folder).values() for stored in stored_in(run)]


def stored_in(run: OfflineRun) -> Iterator[Stored]:
    site = run.config["fedtrack"]["site"]
    for file in run.files:
        artifacts = file.parent / "files" / "artifacts"
        for path in artifacts.rglob("*"):
            if path.is_file():
                yield Stored(site, str(path.relative_to(artifacts)), path.read_bytes(), kind=Artifact)
    for key, value in run.config.items():
        if key.startswith(TAG_PREFIX):
            yield Stored(site, decode(key.removeprefix(TAG_PREFIX)), value, kind=Tag)
        elif key not in ("_wandb", "fedtrack"):
            yield Stored(site, decode(key), value, kind=Param)
    for row in run.rows:
        yield from stored_row(run, site, row)


def stored_row(run: OfflineRun, site: str, row: dict[str, Any]) -> Iterator[Stored]:
    step, time_ns = row.get(STEP_KEY), round(row["_timestamp"] * 10**9)
    media = [key.removesuffix("._type") for key in row if key.endswith("._type")]
    for key in media:
        kind, value = read_media(run, {name.removeprefix(f"{key}."): item for name, item in row.items()})
        yield Stored(site, decode(key), value, step, time_ns, kind)
    for key, value in row.items():
        if key not in OWN_KEYS and not media:
            if isinstance(value, str):
                yield Stored(site, decode(key), value, step, time_ns, Text)
            else:  # W&B's JSON writes 1.0 as 1
                yield Stored(site, decode(key), float(value), step, time_ns, Metric)


def read_media(run: OfflineRun, item: dict[str, Any]) -> tuple[Any, Any]:
    if item["_type"] == "histogram":
        return Histogram, (item["bins"], item["values"])
    (file,) = (path for path in (file.parent / "files" / item["path"] for file in run.files) if path.exists())
    if item["_type"] == "image-file":
        return Image, file.read_bytes()
    page = file.read_bytes().decode()
    return Text, html.unescape(page.removeprefix("<pre>").removesuffix("</pre>"))
