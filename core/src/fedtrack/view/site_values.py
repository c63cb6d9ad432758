"""SiteValues: each site's value of each metric in one round, from the frames of its batches."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from fedtrack.journal.batches import StoredBatch
from fedtrack.spool import frames
from fedtrack.tracking.records import Direction, Metric, decode, number_of

_METRIC, _DIRECTION = 1, 33
_MAY_HOLD_DIRECTION = frames.kinds_pattern((_DIRECTION,))


class Value:
    """A site's value of a metric in a round: the last one, and the sum and the number of all.

    Attributes:
        last: The last one.
        total: The sum of the finite ones.
        count: How many there are.
        finite: How many of them are finite.
    """

    __slots__ = ("count", "finite", "last", "total")

    def __init__(self) -> None:
        self.last, self.total, self.count, self.finite = math.nan, 0.0, 0, 0

    def add(self, value: float) -> None:
        """Take one more value into account."""
        self.last = value
        self.count += 1
        if math.isfinite(value):
            self.total += value
            self.finite += 1

    def of(self, mode: str) -> float:
        """Return the value by the view's mode."""
        if mode == "mean":
            return self.total / self.finite if self.finite else self.last
        return self.last


def take_metrics(batch: StoredBatch, values: dict[str, Value], mode: str) -> None:
    """Add the metrics of a batch of one site to its values.

    With ``last``, only the last record of each metric is decoded: a batch may hold thousands of the same one.
    """
    if mode != "last":
        for record in metrics_of(batch):
            values.setdefault(record.key, Value()).add(record.value)
        return
    found: dict[bytes, tuple[memoryview, int]] = {}
    for _, payload in frames.split(batch.body):
        if number_of(payload) == _METRIC:
            key = _raw_key(payload)
            found[key] = payload, found[key][1] + 1 if key in found else 1
    for payload, count in found.values():
        last = _decoded(payload)
        if last is not None:
            value = values.setdefault(last.key, Value())
            value.add(last.value)
            value.count += count - 1


def metrics_of(batch: StoredBatch) -> Iterable[Metric]:
    """Yield the metrics of a batch."""
    for _, payload in frames.split(batch.body):
        if number_of(payload) == _METRIC and (record := _decoded(payload)) is not None:
            yield record


def directions_of(batch: StoredBatch) -> Iterable[Direction]:
    """Yield what a batch says about which values of its metrics are better."""
    if not _MAY_HOLD_DIRECTION.search(batch.body):
        return
    for _, payload in frames.split(batch.body):
        if number_of(payload) == _DIRECTION and isinstance(record := decode(payload), Direction):
            yield record


def _decoded(payload: memoryview) -> Metric | None:
    try:
        record = decode(payload)
    except msgspec.DecodeError:
        return None  # each delivery counts it as a dead letter
    return record if isinstance(record, Metric) else None


def _raw_key(payload: memoryview) -> bytes:
    """Return the encoded key of a metric, or more of the payload if it is not encoded as usual.

    The payload is an array of ``[1, time_ns, key, ...]``; a time of today takes nine bytes.
    """
    if len(payload) > 12 and payload[2] == 0xCF:
        if payload[11] & 0xE0 == 0xA0:
            return bytes(payload[11 : 12 + (payload[11] & 0x1F)])
        if payload[11] == 0xD9:
            return bytes(payload[11 : 13 + payload[12]])
    return bytes(payload)
