"""Helpers for tests of the spool: they write records into it and read them back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.spool.base import PythonSpoolBase, SpoolBase
from fedtrack.spool.frames import FrameRange, split
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Gap, Metric, Record, decode

Read = Callable[[Path], dict[str, list[tuple[int, Any]]]]


def metric(value: float, key: str = "loss") -> Metric:
    return Metric(123, key, float(value), 7)


def values(records: list[tuple[int, Any]]) -> list[float]:
    return [record.value for _, record in records if isinstance(record, Metric)]


def gaps(records: list[tuple[int, Any]]) -> list[int]:
    return [record.count for _, record in records if isinstance(record, Gap)]


Put = Callable[[Spool, Metric], None]


def put_as_a_record(spool: Spool, record: Record) -> None:
    """As a writer stores what had to be normalised."""
    spool.append(record)


def put_as_it_is(spool: Spool, record: Metric) -> None:
    """As a writer stores a plain metric, or as a record if it is none for this spool."""
    if not spool.append_metric(record.key, record.value, record.step):
        spool.append(record)


PUTS = {"record": put_as_a_record, "plain": put_as_it_is}

#: For tests of what only the compiled part does.
compiled = pytest.mark.skipif(SpoolBase is PythonSpoolBase, reason="the log call is not compiled here, or turned off")


def opened(folder: Path, **options: Any) -> Spool:
    """Return a spool with an open segment."""
    spool = Spool(folder, **options)
    spool.append(metric(0, "first"))
    return spool


def logged_metrics(folder: Path) -> list[tuple[str, float, int | None, int | None]]:
    """Return key, value, step and round of each metric in a spool, stream by stream."""
    found = []
    for stream, segments in sorted(list_streams(folder).items()):
        for part in SpoolReader(stream).read(segments, ended=True):
            assert isinstance(part, FrameRange)
            for _, payload in split(part.body):
                record = decode(payload)
                if isinstance(record, Metric):
                    found.append((record.key, record.value, record.step, part.round))
    return found
