"""Rows: records become arguments of ``run.log``, ``run.config`` and ``run.save``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fedtrack.tracking import BlobStore
from fedtrack.tracking.records import Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_wandb import names

#: Kinds of record that W&B stores in the rows of a run's history.
Row: TypeAlias = tuple[Metric, ...] | tuple[Text] | tuple[Image] | tuple[Histogram]

#: One line of text up to this length is a value in the row, as in ``wandb.log``; other text becomes an HTML page.
MAX_INLINE_TEXT = 256

#: W&B's limit for the buckets of one histogram.
MAX_BUCKETS = 512

#: Larger integers lose digits as JSON numbers.
_EXACT_INT = 2**53


def join(records: Iterable[tuple[int, Record]]) -> list[list[tuple[int, Record]]]:
    """Group positioned records: the metrics of one log call together, every other record alone."""
    groups: list[list[tuple[int, Record]]] = []
    keys: set[str] = set()
    for position, record in records:
        previous = groups[-1][-1][1] if groups else None
        if isinstance(record, Metric) and _same_call(previous, record) and record.key not in keys:
            groups[-1].append((position, record))
            keys.add(record.key)
        else:
            groups.append([(position, record)])
            keys = {record.key} if isinstance(record, Metric) else set()
    return groups


def build(row: Row, blobs: BlobStore, folder: Path) -> dict[str, Any]:
    """Return the values of a row for ``run.log``, without its step and time.

    Args:
        row: The records.
        blobs: The store of large values.
        folder: The folder for files that are needed until the row is logged.

    Raises:
        Exception: A value cannot be shown, for example because it is not a valid image.
    """
    encode = names.encode if row[0].step is None else names.encode_axis
    return {encode(record.key): _value(record, blobs, folder) for record in row}


def setting(record: Param | Tag) -> tuple[str, Any]:
    """Return the key and the value of a parameter or tag in the run's config."""
    if isinstance(record, Tag):
        return names.TAG_PREFIX + names.encode(record.key), record.value
    value = record.value
    if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) > _EXACT_INT):
        value = str(value)  # W&B would store null, or round the number
    return names.encode_setting(record.key), value


def _same_call(previous: Record | None, record: Metric) -> bool:
    return isinstance(previous, Metric) and (previous.time_ns, previous.step) == (record.time_ns, record.step)


def _value(record: Metric | Text | Image | Histogram, blobs: BlobStore, folder: Path) -> Any:
    if isinstance(record, Metric):
        return record.value
    if isinstance(record, Text):
        return _text(blobs.read_text(record.text))
    if isinstance(record, Image):
        return _image(blobs.read(record.data), folder / f"image.{record.format}")
    return _histogram(record)


def _text(text: str) -> Any:
    import html

    import wandb

    if len(text) <= MAX_INLINE_TEXT and "\n" not in text:
        return text
    # Without inject=False the page would load a stylesheet from W&B's server.
    return wandb.Html(f"<pre>{html.escape(text)}</pre>", inject=False)


def _image(data: bytes, file: Path) -> Any:
    import wandb

    file.write_bytes(data)
    return wandb.Image(str(file))  # from a file, so that W&B keeps the bytes


def _histogram(record: Histogram) -> Any:
    import wandb

    counts, edges = _merge(record.counts, record.edges)
    return wandb.Histogram(np_histogram=(counts, edges))


def _merge(counts: Sequence[float], edges: Sequence[float]) -> tuple[list[float], list[float]]:
    """Merge adjacent buckets until there are few enough for W&B; no count is lost."""
    width = -(-len(counts) // MAX_BUCKETS)
    merged = [sum(counts[start : start + width]) for start in range(0, len(counts), width)]
    return merged, [*edges[:-1:width], edges[-1]]
