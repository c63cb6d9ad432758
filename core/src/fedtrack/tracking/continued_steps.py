"""Continued steps: the steps of a script that counts from 0 in each round, made into one ascending count."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from fedtrack.tracking.normalise import INT64_MAX
from fedtrack.tracking.records import Record

if TYPE_CHECKING:
    from fedtrack.tracking.writer import RecordLog


class ContinuedSteps:
    """Adds to each step what the earlier counts have reached.

    A step that is less than the one before it under the same key begins a new count, whose first step comes after the
    last one of the count before. Several keys that are logged together have the same offset.
    """

    def __init__(self) -> None:
        self._offset = 0
        self._reached = -1
        self._last: dict[str, int] = {}

    def step(self, key: str, given: int) -> int:
        """Return the continued step."""
        if given < self._last.get(key, given):
            self._offset = self._reached + 1
            self._last.clear()
        self._last[key] = given
        self._reached = max(self._reached, given + self._offset)
        return given + self._offset


class ContinuedLog:
    """A record log that continues the steps of the records on their way to ``record_log``."""

    def __init__(self, record_log: RecordLog) -> None:
        self.blobs = record_log.blobs
        self._log = record_log
        self._steps = ContinuedSteps()
        self._lock = threading.Lock()

    def append(self, record: Record) -> None:
        """Store one record with its continued step."""
        self._log.append(self._continued(record))

    def extend(self, records: Iterable[Record]) -> None:
        """Store several records with their continued steps."""
        self._log.extend([self._continued(record) for record in records])

    def note(self, record: Record) -> bool:
        """Store a control record; see ``Spool.note``."""
        note = getattr(self._log, "note", None)
        return note is not None and bool(note(record))

    def _continued(self, record: Record) -> Record:
        given = getattr(record, "step", None)
        if given is None:
            return record
        with self._lock:
            step = min(self._steps.step(record.key, given), INT64_MAX)  # type: ignore[attr-defined]
        return record if step == given else msgspec.structs.replace(record, step=step)
