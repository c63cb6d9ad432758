"""Summaries: records become TensorBoard's Event messages, and an event is traced back to its record's kind.

The messages are like those of torch's SummaryWriter, which every reader of event files understands: TensorBoard itself,
``EventAccumulator.Scalars`` and the libraries built on it. TensorBoard stores every scalar as float32.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata

from fedtrack.tracking import BlobStore
from fedtrack.tracking.records import Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_tensorboard.images import png_size
from fedtrack_tensorboard.passes import Kind

#: TensorBoard stores parameters and tags as texts; their descriptions, which it shows, distinguish them.
_DESCRIPTIONS: dict[Kind, str] = {"param": "Parameter", "tag": "Tag", "text": ""}
_KINDS_OF_TEXT: dict[str, Kind] = {text: kind for kind, text in _DESCRIPTIONS.items()}

#: The prefix of a parameter's key in its tag.
PARAM_PREFIX = "params/"

_TAG_PREFIX = "tags/"

#: What an event says of its record in a field that TensorBoard does not read.
_GIVEN_STEP, _IS_TEXT = "fedtrack step ", "fedtrack text"


def series_of(record: Record) -> tuple[str, Kind]:
    """Return the tag under which TensorBoard shows a record, and its kind in TensorBoard."""
    match record:
        case Metric(key=key):
            return key, "scalar"
        case Param(key=key):
            return PARAM_PREFIX + key, "param"
        case Tag(key=key):
            return _TAG_PREFIX + key, "tag"
        case Text(key=key):
            return key, "text"
        case Image(key=key):
            return key, "image"
        case Histogram(key=key):
            return key, "histogram"
    raise TypeError(f"TensorBoard holds no {type(record).__name__}")


def event_of(record: Record, tag: str, step: int, blobs: BlobStore) -> Event:
    """Return the event that shows ``record``; its wall time is the site's.

    Raises:
        DamagedError: The record's data is missing or changed.
    """
    # The quotient of two ints is the nearest float64; that of an int and a float need not be.
    event = Event(wall_time=record.time_ns / 10**9, step=step)
    value = event.summary.value.add()
    value.tag = tag
    _FILL[type(record)](value, record, blobs)
    if isinstance(record, Param) and isinstance(record.value, str):
        event.source_metadata.writer = _IS_TEXT
    return event


def note_given_step(event: Event, step: int) -> None:
    """Store the script's own step in an event that has another one."""
    event.source_metadata.writer = f"{_GIVEN_STEP}{step}"


def given_step_of(event: Event) -> int:
    """Return the script's own step."""
    note = event.source_metadata.writer
    return int(note.removeprefix(_GIVEN_STEP)) if note.startswith(_GIVEN_STEP) else event.step


def value_of_param(event: Event) -> bool | float | str:
    """Return the value of a parameter's event: "007" stays text if the script logged text."""
    text = literal_of(event)
    if event.source_metadata.writer == _IS_TEXT:
        return text
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)
    except ValueError:
        return text


def identify(event: Event) -> tuple[str, Kind]:
    """Return the tag and the kind of an event that ``event_of`` made."""
    value = event.summary.value[0]
    form = value.WhichOneof("value")
    if form == "tensor":
        return value.tag, _KINDS_OF_TEXT[value.metadata.summary_description]
    forms: dict[str, Kind] = {"simple_value": "scalar", "image": "image", "histo": "histogram"}
    return value.tag, forms[form]


def literal(text: str) -> str:
    """Return Markdown that shows ``text`` literally."""
    return "\n".join("    " + line for line in text.split("\n"))


def literal_of(event: Event) -> str:
    """Return the text of a parameter's or tag's event, as it was before ``literal``."""
    shown: str = event.summary.value[0].tensor.string_val[0].decode()
    return "\n".join(line[4:] for line in shown.split("\n"))


def _fill_scalar(value: Any, record: Metric, blobs: BlobStore) -> None:
    value.simple_value = record.value


def _fill_param(value: Any, record: Param, blobs: BlobStore) -> None:
    _fill_with_text(value, literal(str(record.value)), "param")


def _fill_tag(value: Any, record: Tag, blobs: BlobStore) -> None:
    _fill_with_text(value, literal(record.value), "tag")


def _fill_text(value: Any, record: Text, blobs: BlobStore) -> None:
    _fill_with_text(value, blobs.read_text(record.text), "text")


def _fill_with_text(value: Any, text: str, kind: Kind) -> None:
    value.metadata.CopyFrom(create_summary_metadata(display_name=None, description=_DESCRIPTIONS[kind]))
    value.tensor.CopyFrom(TensorProto(dtype=DT_STRING, string_val=[text.encode()]))
    value.tensor.tensor_shape.SetInParent()


def _fill_image(value: Any, record: Image, blobs: BlobStore) -> None:
    data = blobs.read(record.data)
    width, height = png_size(data)
    value.image.CopyFrom(Summary.Image(width=width, height=height, encoded_image_string=data))


def _fill_histogram(value: Any, record: Histogram, blobs: BlobStore) -> None:
    filled = [index for index, count in enumerate(record.counts) if count]
    # Readers drop empty buckets at both ends, and take min and max as the outer edges of the others.
    first, last = (filled[0], filled[-1]) if filled else (0, len(record.counts) - 1)
    edges, counts = record.edges[first : last + 2], record.counts[first : last + 1]
    middles = [(left + right) / 2 for left, right in pairwise(edges)]
    weighted = list(zip(middles, counts, strict=True))
    value.histo.CopyFrom(
        HistogramProto(
            min=edges[0],
            max=edges[-1],
            num=sum(counts),
            sum=sum(middle * count for middle, count in weighted),
            sum_squares=sum(middle * middle * count for middle, count in weighted),
            bucket_limit=edges[1:],
            bucket=counts,
        )
    )


_FILL: dict[type[Record], Callable[[Any, Any, BlobStore], None]] = {
    Metric: _fill_scalar,
    Param: _fill_param,
    Tag: _fill_tag,
    Text: _fill_text,
    Image: _fill_image,
    Histogram: _fill_histogram,
}

#: The kinds of record that TensorBoard can hold.
SUPPORTED = frozenset(_FILL)
