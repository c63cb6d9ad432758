"""Follower: reads a run's journals into its view file, from where the last one stopped; like a receiver, with a cursor.

It reads the journal only, so it can neither slow nor stop the run.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from time import monotonic

import msgspec

from fedtrack.journal import Journal
from fedtrack.runs import StoredRun
from fedtrack.spool import split
from fedtrack.tracking import SERVER
from fedtrack.tracking.records import (
    GAP_KIND,
    Artifact,
    BlobRef,
    Control,
    Direction,
    Histogram,
    Image,
    Metric,
    Param,
    Rejected,
    Tag,
    TaskRecord,
    Text,
    decode,
    number_of,
)
from fedtrack_ui.rollup.control import take_direction, take_task
from fedtrack_ui.rollup.series import Series
from fedtrack_ui.rollup.view_file import ViewFile

#: How many images, texts and files of one name and site are listed: the newest.
ITEMS_OF_A_NAME = 50
#: The journal is read in pieces, so that a page that waits sees the first ones.
_PIECE_BYTES = 4 * 1024 * 1024


class Follower:
    """Keeps a view file up to date; used by one thread.

    Args:
        run: The run.
        view: Its view file, which this process may write.
    """

    def __init__(self, run: StoredRun, view: ViewFile) -> None:
        self._run, self._view = run, view
        self._series: dict[tuple[str, str], Series] = {}
        self._changed: dict[int, Series] = {}
        self._spans: dict[tuple[str, int], list[int]] = {}
        self._items: set[tuple[str, str, str]] = set()

    def step(self, seconds: float = 0.5) -> bool:
        """Read what is new for about so many seconds.

        Returns:
            Whether there is more to read.
        """
        until, more = monotonic() + seconds, False
        for node in self._nodes():
            with self._run.journal(node) as journal:
                if node == SERVER:
                    self._check(journal)
                more = self._read(node, journal, until) or more
        return more

    def _nodes(self) -> Iterator[str]:
        """Yield the nodes with events that no other node has: the server, and sites that keep theirs to themselves."""
        nodes = self._run.journaling_nodes()
        if SERVER in nodes:
            yield SERVER
        others = [node for node in nodes if node != SERVER]
        result = (
            self._run.result if others else None
        )  # of many sites it is large, and this is asked four times a second
        for node in others:
            site = result.sites.get(node) if result else None
            if site is not None and not site.streams_to_server:
                yield node

    def _check(self, journal: Journal) -> None:
        """Begin again if another journal took the place of the one that was read, or events were taken out of it."""
        row = self._view.database.execute("SELECT journal, batch FROM cursor WHERE node = ?", (SERVER,)).fetchone()
        if row is not None and (row[0] != _id_of(journal) or row[1] > journal.last_batch()):
            self._view.reset()
            self._series.clear()

    def _read(self, node: str, journal: Journal, until: float) -> bool:
        database = self._view.database
        row = database.execute("SELECT batch, events FROM cursor WHERE node = ?", (node,)).fetchone()
        after, events = row or (0, 0)
        while batches := journal.read(after, _PIECE_BYTES):
            database.execute("BEGIN IMMEDIATE")
            try:
                for batch in batches:
                    events += self._take(node, batch.id, batch.site, batch.round, split(batch.body))
                after = batches[-1].id
                self._store()
                database.execute(
                    "INSERT OR REPLACE INTO cursor VALUES (?,?,?,?)", (node, _id_of(journal), after, events)
                )
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                self._forget()
                raise
            if monotonic() >= until:
                return journal.last_batch() > after
        return False

    def _take(
        self, node: str, batch: int, site: str, round_: int | None, records: Iterable[tuple[int, memoryview]]
    ) -> int:
        taken, first, last = 0, 0, 0
        for seq, payload in records:
            try:
                record = decode(payload)
            except msgspec.DecodeError:
                taken += 1  # of a kind that only a newer version knows
                continue
            if isinstance(record, Control):
                self._take_control(record, site)
                continue
            if number_of(payload) == GAP_KIND:  # it tells of lost calls, which the tally counts
                continue
            taken += 1
            first, last = first or record.time_ns, max(last, record.time_ns)
            if isinstance(record, Metric):
                series = self._series_of(site, record.key)
                if series.is_full:
                    series.store(self._view.database)
                series.add(record.value, record.step, record.time_ns, round_)
                self._changed[series.id] = series
            else:
                self._take_other(record, site, round_, (node, batch, seq))
        if taken:
            self._widen(site, round_, first, last, taken)
        return taken

    def _take_control(self, record: Control, site: str) -> None:
        if isinstance(record, Direction):
            take_direction(self._view.database, record)
        elif isinstance(record, TaskRecord) and site == SERVER:  # of a site it would be a forgery
            take_task(self._view.database, record)

    def _widen(self, site: str, round_: int | None, first: int, last: int, count: int) -> None:
        span = self._spans.setdefault((site, -1 if round_ is None else round_), [first, last, 0])
        span[0], span[1], span[2] = min(span[0], first), max(span[1], last), span[2] + count

    def _series_of(self, site: str, key: str) -> Series:
        found = self._series.get((site, key))
        if found is None:
            database = self._view.database
            row = database.execute("SELECT id, n, width FROM series WHERE site = ? AND key = ?", (site, key)).fetchone()
            if row is None:
                added = database.execute("INSERT INTO series (site, key, n, width) VALUES (?,?,0,1)", (site, key))
                row = (added.lastrowid, 0, 1)
            found = self._series[site, key] = Series(*row)
        return found

    def _take_other(self, record: object, site: str, round_: int | None, place: tuple[str, int, int]) -> None:
        database = self._view.database
        if isinstance(record, Param | Tag):
            value = msgspec.json.encode(record.value).decode()
            database.execute("INSERT OR REPLACE INTO param VALUES (?,?,?)", (site, record.key, value))
        elif isinstance(record, Rejected):
            self._add_problem(site, "rejected", 1, record.key, record.reason)
        elif isinstance(record, Image | Text | Histogram | Artifact):
            kind = type(record).__name__.lower()
            key = record.path if isinstance(record, Artifact) else record.key
            step = None if isinstance(record, Artifact) else record.step
            database.execute(
                "INSERT INTO item (kind, site, key, step, round, time_ns, node, batch, seq, size) "
                "VALUES (?,?,?,?,?,?,?,?,?,?)",
                (kind, site, key, step, round_, record.time_ns, *place, _size(record)),
            )
            self._items.add((site, key, kind))

    def _add_problem(self, site: str, kind: str, count: int, key: str, reason: str) -> None:
        self._view.database.execute(
            "INSERT INTO problem VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET "
            "n = n + excluded.n, key = excluded.key, reason = excluded.reason",
            (site, kind, count, key, reason),
        )

    def _store(self) -> None:
        database = self._view.database
        for series in self._changed.values():
            series.store(database)
        database.executemany(
            "INSERT INTO span VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET time0 = min(time0, excluded.time0), "
            "time1 = max(time1, excluded.time1), n = n + excluded.n",
            [(*place, *span) for place, span in self._spans.items()],
        )
        for place in self._items:
            database.execute(
                "DELETE FROM item WHERE site = ? AND key = ? AND kind = ? AND id NOT IN (SELECT id FROM item "
                "WHERE site = ? AND key = ? AND kind = ? ORDER BY id DESC LIMIT ?)",
                (*place, *place, ITEMS_OF_A_NAME),
            )
        self._changed.clear()
        self._spans.clear()
        self._items.clear()

    def _forget(self) -> None:
        """Drop everything that was read and not committed."""
        for kept in (self._series, self._changed, self._spans, self._items):
            kept.clear()


def _id_of(journal: Journal) -> str:
    return journal.meta("id") or ""


def _size(record: Image | Text | Histogram | Artifact) -> int:
    if isinstance(record, Histogram):
        return len(record.counts)
    data = record.text if isinstance(record, Text) else record.data
    return data.size if isinstance(data, BlobRef) else len(data)
