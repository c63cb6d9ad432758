"""TBAnalyticsReceiver keeps the laws of a receiver, read back with TensorBoard's own loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fedtrack.testing import ReceiverContract, Stored
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_tensorboard import TBAnalyticsReceiver

KINDS: dict[str, type[Record]] = {"Parameter": Param, "Tag": Tag, "": Text}


class TestTBAnalyticsReceiver(ReceiverContract):
    relative_error = 2**-24  # TensorBoard's scalars are float32
    time_resolution_ns = 500  # and its wall times float64 seconds

    def make_receiver(self) -> TBAnalyticsReceiver:
        return TBAnalyticsReceiver()

    def read(self, folder: Path) -> list[Stored]:
        return sorted(stored_in(folder / "tb_events"), key=lambda s: s.time_ns or 0)


def stored_in(folder: Path) -> Iterator[Stored]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for file in sorted(folder.glob("*/artifacts/**/*")):
        if file.is_file():
            site, _, *path = file.relative_to(folder).parts
            yield Stored(unquote(site), "/".join(path), file.read_bytes(), kind=Artifact)
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        site = unquote(file.relative_to(folder).parts[0])
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if not value.tag.startswith("_hparams_"):
                    yield stored(site, event, value)


def stored(site: str, event: Any, value: Any) -> Stored:
    time_ns = round(event.wall_time * 10**9)
    match value.WhichOneof("value"):
        case "simple_value":
            return Stored(site, value.tag, value.simple_value, event.step, time_ns, Metric)
        case "image":
            return Stored(site, value.tag, value.image.encoded_image_string, event.step, time_ns, Image)
        case "histo":
            edges = (value.histo.min, *value.histo.bucket_limit)
            return Stored(site, value.tag, (edges, tuple(value.histo.bucket)), event.step, time_ns, Histogram)
    text = value.tensor.string_val[0].decode()
    kind = KINDS[value.metadata.summary_description]
    if kind is Text:
        return Stored(site, value.tag, text, event.step, time_ns, kind)
    key = value.tag.partition("/")[2]
    return Stored(site, key, "\n".join(line[4:] for line in text.split("\n")), event.step, time_ns, kind)
