"""Rows: a run's events as a table, which outlives every tracker that they were delivered to."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from fedtrack.journal.journal import Journal
from fedtrack.runs.stored_run import StoredRun
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import (
    Artifact,
    BlobRef,
    Histogram,
    Image,
    Metric,
    Param,
    Record,
    Rejected,
    Tag,
    Text,
    decode,
    kind_of,
)

#: The columns, with the type of each in Arrow's and DuckDB's words. New ones are only added at the end.
COLUMNS = {
    "node": "string",
    "site": "string",
    "stream": "string",
    "seq": "int64",
    "round": "int64",
    "time_ns": "int64",
    "kind": "string",
    "key": "string",
    "step": "int64",
    "value": "double",
    "text": "string",
    "data": "binary",
}


def rows(run: StoredRun, kinds: tuple[type[Record], ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield the events in a run's journals in the order of arrival, one row each, with the columns of ``COLUMNS``.

    ``value`` is a metric's, or that of a param that is a number. ``text`` is a param's, a tag's or a text's content, a
    histogram as JSON, the reason of a rejection, or an image's format. ``data`` has the bytes of images and artifacts;
    it is None for a file that is missing. A column that a kind does not have is None.

    Args:
        run: The run; nothing of it is changed.
        kinds: The classes of the records that are wanted; () for all.

    Raises:
        FedtrackError: The run or a journal cannot be read.
    """
    for node in run.journaling_nodes():
        store = BlobStore(run.node(node) / "blobs")
        with run.journal(node) as journal:
            yield from _rows_of(node, journal, store, kinds)


def pruned(run: StoredRun) -> int:
    """Return how many events were deleted from the run's journals because every receiver had them."""
    found = 0
    for node in run.journaling_nodes():
        with run.journal(node) as journal:
            found += sum(journal.pruned(site) for site in journal.counts() | {SERVER: 0})
    return found


def _rows_of(
    node: str, journal: Journal, store: BlobStore, kinds: tuple[type[Record], ...]
) -> Iterator[dict[str, Any]]:
    after = 0
    while batches := journal.read(after):
        after = batches[-1].id
        for batch in batches:
            place = {"node": node, "site": batch.site, "stream": batch.stream, "round": batch.round}
            for seq, payload in batch.events():
                try:
                    record = decode(payload)
                except msgspec.DecodeError:
                    continue  # of a kind that only a newer version knows
                if kinds and not isinstance(record, kinds):
                    continue
                yield dict.fromkeys(COLUMNS) | place | {"seq": seq} | _columns(record, store)


def _columns(record: Record, store: BlobStore) -> dict[str, Any]:
    found = {"time_ns": record.time_ns, "kind": kind_of(record), "step": getattr(record, "step", None)}
    found["key"] = record.path if isinstance(record, Artifact) else getattr(record, "key", None)
    if isinstance(record, Metric):
        found["value"] = record.value
    elif isinstance(record, Param):
        found["text"] = str(record.value)
        if isinstance(record.value, int | float):
            found["value"] = float(record.value)
    elif isinstance(record, Tag):
        found["text"] = record.value
    elif isinstance(record, Text):
        content = _bytes(record.text, store) if isinstance(record.text, BlobRef) else record.text
        found["text"] = content.decode(errors="replace") if isinstance(content, bytes) else content
    elif isinstance(record, Histogram):
        found["text"] = msgspec.json.encode({"edges": record.edges, "counts": record.counts}).decode()
    elif isinstance(record, Rejected):
        found["text"] = record.reason
    elif isinstance(record, Image | Artifact):
        found["data"] = _bytes(record.data, store)
        found["text"] = record.format if isinstance(record, Image) else None
    return found


def _bytes(data: bytes | BlobRef, store: BlobStore) -> bytes | None:
    if not isinstance(data, BlobRef):
        return data
    try:
        return store.read(data)
    except Exception:  # missing or damaged: the row shows that there was a file
        return None


def printable(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for a text format: bytes as base64."""
    data = row["data"]
    return row if data is None else row | {"data": base64.b64encode(data).decode()}
