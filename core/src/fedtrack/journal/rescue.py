"""Rescue: a new journal with everything that can be read of a damaged one.

The rows are found page by page, see ``carve.py``. What is gone is known from the journal's own marks: each stream's row
has the number of its events. The events that no row has any more get a row without frames, so that they are pending,
then lost, for each receiver, as the rest of a batch that was changed on the disk.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns
from zlib import crc32

from fedtrack.journal.batches import StoredBatch
from fedtrack.journal.carve import Row, Value, carve
from fedtrack.journal.database import Database
from fedtrack.journal.gaps import GapKind
from fedtrack.journal.schema import JOURNAL
from fedtrack.spool import frames

_STREAM = re.compile(r"[0-9a-f]{32}\Z")
#: No bytes have this checksum.
_NO_CHECKSUM = -1

UNKNOWN_MARK = "the journal's mark of this stream was damaged: how many of its events were lost is not known"
UNKNOWN_MARKS = "the journal's marks were damaged: how many events were lost is not known"


@dataclass
class Rescued:
    """What a rescue has found.

    Attributes:
        events: Events that were found, by site.
        lost: Events that were not found, by site.
        unknown: The sites of which it is not known how many were lost; "" stands for all.
    """

    events: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


def rescue(path: Path, target: Path, identity: str = "") -> Rescued:
    """Write a journal at ``target`` with everything that can be read of the damaged one at ``path``.

    Args:
        path: The damaged journal, which is only read.
        target: The new journal, which must not exist.
        identity: The damaged journal's id, for the case that it cannot be read any more.

    Raises:
        OSError: The damaged journal cannot be read.
        WorkspaceError: The new one cannot be written.
    """
    database = Database(target, JOURNAL)
    try:
        with database.transaction() as writer:
            if identity:
                writer.execute("UPDATE meta SET value = ? WHERE key = 'id'", (identity,))
            for row in carve(path):
                _take(writer, row)
            return _balance(writer)
    finally:
        database.close()


def _take(writer: sqlite3.Connection, row: Row) -> None:
    """Store a row in the table of which it is."""
    values = row.values
    if row.id is None:
        _take_keyed(writer, values)
    elif _is(values, "0ssiiiibii", optional=(6,)) and _is_stream(values[2]):
        _take_batch(writer, row.id, values)
    elif _is(values, "0ssiiibii") and _is_stream(values[2]):  # of format 1, which had no rounds
        _take_batch(writer, row.id, (*values[:6], None, *values[6:]))
    elif _is(values, "0sssiiiisi", optional=(4, 5, 6)):
        writer.execute("INSERT OR IGNORE INTO gap VALUES (?,?,?,?,?,?,?,?,?,?)", (row.id, *values[1:]))
    elif _is(values, "0ssiiii", optional=(3,)):
        writer.execute("INSERT OR IGNORE INTO pruned VALUES (?,?,?,?,?,?,?)", (row.id, *values[1:]))
    elif len(values) == 2 and values[0] == "batch" and isinstance(values[1], int):
        writer.execute("DELETE FROM sqlite_sequence WHERE name = 'batch'")
        writer.execute("INSERT INTO sqlite_sequence VALUES ('batch', ?)", (values[1],))


def _take_batch(writer: sqlite3.Connection, id_: int, values: tuple[Value, ...]) -> None:
    """Store a batch; of two versions with one id the intact one."""
    body, crc = values[7], values[8]
    assert isinstance(body, bytes)  # noqa: S101 - checked by the caller
    intact = crc32(body) == crc
    if intact and body:  # its other columns may nevertheless be damaged
        numbers = [seq for seq, _ in frames.split(body)]
        events = frames.events_in(body, len(numbers))
        count = values[5] if values[5] == len(numbers) else events
        values = (*values[:3], numbers[0], numbers[-1], count, *values[6:])
    how = "REPLACE" if intact else "IGNORE"
    writer.execute(f"INSERT OR {how} INTO batch VALUES (?,?,?,?,?,?,?,?,?,?)", (id_, *values[1:]))  # noqa: S608


def _take_keyed(writer: sqlite3.Connection, values: tuple[Value, ...]) -> None:
    if _is(values, "ssiiiiiiiib", optional=(4, 5, 9, 10)) and _is_stream(values[1]):
        # Of two versions the later one: marks and counts only grow.
        writer.execute(
            "INSERT INTO stream VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET last = excluded.last, "
            "n = excluded.n, round = excluded.round, final = excluded.final, dropped = excluded.dropped, "
            "withheld = excluded.withheld, rejected = excluded.rejected, counted = excluded.counted, "
            "chain = excluded.chain WHERE (excluded.last, excluded.n, excluded.dropped) >= (last, n, dropped)",
            values,
        )
    elif _is(values, "ssii") and _is_stream(values[1]):  # of format 1
        writer.execute("INSERT OR REPLACE INTO stream (site, stream, last, n) VALUES (?,?,?,?)", values)
    elif _is(values, "siiiiisb", optional=(1, 2, 7)):
        writer.execute("INSERT OR REPLACE INTO goodbye VALUES (?,?,?,?,?,?,?,?)", values)
    elif _is(values, "ss") and values[0] != "format":
        writer.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", values)


def _balance(writer: sqlite3.Connection) -> Rescued:
    """Compare the rows with the marks of their streams, and store what is missing."""
    _adopt_strays(writer)
    found = Rescued()
    found.events = dict(writer.execute("SELECT site, sum(n) FROM batch GROUP BY site ORDER BY site").fetchall())
    stored = _sums(writer, "SELECT site, stream, sum(n) FROM batch GROUP BY site, stream")
    pruned = _sums(writer, "SELECT site, stream, sum(n) FROM pruned GROUP BY site, stream")
    marks = _sums(writer, "SELECT site, stream, n FROM stream")
    if not marks and (stored or not found.events):
        found.unknown.add("")
        _note(writer, "server", "", UNKNOWN_MARKS, None)
    free = _free_ids(writer)
    for (site, stream), count in marks.items():
        lost = count - stored.get((site, stream), 0) - pruned.get((site, stream), 0)
        if lost > 0:
            found.lost[site] = found.lost.get(site, 0) + lost
            _leave_empty(writer, next(free), site, stream, lost)
    for site, stream in stored.keys() - marks.keys():
        found.unknown.add(site)
        writer.execute(
            "INSERT INTO stream (site, stream, last, n) SELECT site, stream, max(last), sum(n) FROM batch "
            "WHERE site = ? AND stream = ?",
            (site, stream),
        )
        _note(writer, site, stream, UNKNOWN_MARK, None)
    return found


def _adopt_strays(writer: sqlite3.Connection) -> None:
    """Give a batch whose site was altered back to the site of its stream, and forget it if several sites share that."""
    strays = (
        "SELECT id, stream FROM batch WHERE stream IN (SELECT stream FROM stream) "
        "AND NOT EXISTS (SELECT 1 FROM stream WHERE stream.site = batch.site AND stream.stream = batch.stream)"
    )
    for id_, stream in writer.execute(strays).fetchall():
        sites = writer.execute("SELECT site FROM stream WHERE stream = ?", (stream,)).fetchall()
        if len(sites) == 1:
            writer.execute("UPDATE batch SET site = ? WHERE id = ?", (*sites[0], id_))
        else:
            writer.execute("DELETE FROM batch WHERE id = ?", (id_,))


def _leave_empty(writer: sqlite3.Connection, id_: int, site: str, stream: str, lost: int) -> None:
    """Store a batch without frames in the place of events that are lost."""
    mark = writer.execute("SELECT last FROM stream WHERE site = ? AND stream = ?", (site, stream)).fetchone()[0]
    row = (id_, site, stream, mark, mark, lost, None, b"", _NO_CHECKSUM, time_ns())
    writer.execute("INSERT INTO batch VALUES (?,?,?,?,?,?,?,?,?,?)", row)
    note_lost(writer, id_, site, stream, lost)


def note_lost(writer: sqlite3.Connection, id_: int, site: str, stream: str, lost: int) -> None:
    """Record the events that the empty batch ``id_`` stands for, in the words in which a delivery will record them."""
    _note(writer, site, stream, StoredBatch(id_, site, stream, 0, b"", lost=lost).damage, lost)


def _note(writer: sqlite3.Connection, site: str, stream: str, reason: str, count: int | None) -> None:
    row = (site, stream, GapKind.CHANGED.value, count, reason, time_ns())
    writer.execute(
        "INSERT INTO gap (site, stream, kind, count, bytes, reason, recv_ns) VALUES (?,?,?,?,0,?,?) "
        "ON CONFLICT DO NOTHING",
        row,
    )


def _free_ids(writer: sqlite3.Connection) -> Iterator[int]:
    """Yield the ids of batches that are not there any more, oldest first; then new ones."""
    there = [row[0] for row in writer.execute("SELECT id FROM batch ORDER BY id")]
    known = writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").fetchone()
    newest = max([*there[-1:], known[0] if known else 0])
    pruned = writer.execute("SELECT 1 FROM pruned").fetchone()
    at = there[0] if pruned and there else 1  # the first ones may have been pruned
    for id_ in there:
        yield from range(at, id_)
        at = id_ + 1
    yield from range(at, newest + 1)
    while True:
        newest += 1
        yield newest


def _sums(writer: sqlite3.Connection, query: str) -> dict[tuple[str, str], int]:
    return {(site, stream): count for site, stream, count in writer.execute(query)}


def _is_stream(value: Value) -> bool:
    return isinstance(value, str) and _STREAM.match(value) is not None


def _is(values: tuple[Value, ...], kinds: str, optional: tuple[int, ...] = ()) -> bool:
    """Return whether the columns have these kinds: 0 none, s text, i integer, b bytes. Optional ones may be none."""
    types = {"s": str, "i": int, "b": bytes}
    if len(values) != len(kinds):
        return False
    for index, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        if value is None and (kind == "0" or index in optional):
            continue
        if kind == "0" or not isinstance(value, types[kind]):
            return False
    return True
