"""Oracle: what is in the files, read without fedtrack's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import apsw
from simulation.protocol import frames_of

METRIC, TEXT, REJECTED, GAP, FIRST_CONTROL = 1, 4, 8, 9, 32


class Event(NamedTuple):
    """An event of the journal: its number in the stream, the number of its call, and its record."""

    seq: int
    number: int
    record: list[Any]


class Row(NamedTuple):
    """A row of the journal."""

    id: int
    site: str
    stream: str
    round: int | None
    events: list[Event]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a journal, in the order of their ids."""
    return [
        Row(id_, site, stream, round_, [_event(seq, record) for seq, record in frames_of(body) if _is_event(record)])
        for id_, site, stream, round_, body in _rows(
            path, "SELECT id, site, stream, round, body FROM batch ORDER BY id"
        )
    ]


def read_marks(path: Path) -> dict[tuple[str, str], int]:
    """Return the high-water mark of each stream of a journal."""
    return {(site, stream): last for site, stream, last in _rows(path, "SELECT site, stream, last FROM stream")}


def read_gaps(path: Path) -> list[tuple[str, str]]:
    """Return (site, reason) of each loss that a journal has recorded."""
    return [tuple(row) for row in _rows(path, "SELECT site, reason FROM gap ORDER BY id")]


def read_dead(path: Path, receiver: str) -> set[tuple[str, str, int]]:
    """Return the dead letters of a receiver."""
    rows = _rows(path, "SELECT receiver, site, stream, seq FROM dead")
    return {(site, stream, seq) for name, site, stream, seq in rows if name == receiver}


def _rows(path: Path, query: str) -> list[Any]:
    if not path.exists():
        return []
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return list(connection.execute(query)) if tables and tables[0] else []  # its maker was killed
    finally:
        connection.close()


def _is_event(record: list[Any]) -> bool:
    return record[0] < FIRST_CONTROL and record[0] != GAP


def _event(seq: int, record: list[Any]) -> Event:
    return Event(seq, int(record[2].strip("'").removeprefix("key")), record)
