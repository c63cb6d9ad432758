"""What the tests of the spool put into it, and find in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedtrack.tracking.records import Gap, Metric

Read = Callable[[Path], dict[str, list[tuple[int, Any]]]]


def metric(value: float, key: str = "loss") -> Metric:
    return Metric(123, key, float(value), 7)


def values(records: list[tuple[int, Any]]) -> list[float]:
    return [record.value for _, record in records if isinstance(record, Metric)]


def gaps(records: list[tuple[int, Any]]) -> list[int]:
    return [record.count for _, record in records if isinstance(record, Gap)]
