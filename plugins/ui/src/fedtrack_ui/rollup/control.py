"""Control records: what the server asked of the sites and what came back, and which values of a metric are good."""

from __future__ import annotations

import math
import sqlite3

from fedtrack.tracking.records import Direction, TaskRecord

#: The task in which a site trains; others score or submit a model and belong to no round.
_TRAIN = "train"


def take_direction(database: sqlite3.Connection, record: Direction) -> None:
    """Store which values of a metric are the good ones; the first to say so is believed."""
    if record.better in ("higher", "lower"):
        database.execute("INSERT OR IGNORE INTO direction VALUES (?,?)", (record.key, record.better))


def take_task(database: sqlite3.Connection, record: TaskRecord) -> None:
    """Store a task of a round; it replaces what was known of the same sites in the same round."""
    if record.task != _TRAIN or record.round is None:
        return
    for at, site in enumerate(record.sites):
        row = (
            record.round,
            site,
            record.asked_ns[at],
            _at(record.answered_ns, at),
            _at(record.sent, at),
            _at(record.received, at),
            _known(record.weights, at),
            _known(record.seconds, at),
            record.errors.get(site, ""),
        )
        database.execute("INSERT OR REPLACE INTO task VALUES (?,?,?,?,?,?,?,?,?)", row)
    for key, values in record.metrics.items():
        returned = [
            (key, site, record.round, value, record.time_ns)
            for site, value in zip(record.sites, values, strict=False)
            if value is not None
        ]
        database.executemany("INSERT OR REPLACE INTO returned VALUES (?,?,?,?,?)", returned)


def _at(column: tuple[int, ...], at: int) -> int:
    """Return a site's number; 0 in a record of a task's beginning, whose other columns are empty."""
    return column[at] if at < len(column) else 0


def _known(column: tuple[float, ...], at: int) -> float | None:
    return None if at >= len(column) or math.isnan(column[at]) else column[at]
