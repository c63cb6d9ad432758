"""Journal: the server's SQLite store of every event, exactly once, in order per (site, stream).

A batch is stored as the frames that the spool held, in one row, together with the stream's new high-water mark in
one transaction: storing it is seven times faster than a row per event, and the high-water mark alone decides what
is a duplicate. The acknowledgement is that mark, returned after COMMIT with ``synchronous=FULL``.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from zlib import crc32

from fedtrack.errors import WorkspaceError
from fedtrack.journal.cursors import Cursor, Cursors, DeadLetter
from fedtrack.spool import frames
from fedtrack.tracking.counts import Counts

__all__ = ["FORMAT", "Cursor", "DeadLetter", "Journal", "StoredBatch"]

log = logging.getLogger(__name__)

FORMAT = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, stream TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, n INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL, recv_ns INTEGER NOT NULL);
CREATE TABLE hw (
    site TEXT NOT NULL, stream TEXT NOT NULL, last INTEGER NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (site, stream)) WITHOUT ROWID;
CREATE TABLE gap (
    id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, stream TEXT NOT NULL,
    first INTEGER, last INTEGER, bytes INTEGER NOT NULL, reason TEXT NOT NULL, recv_ns INTEGER NOT NULL);
CREATE TABLE cursor (
    receiver TEXT PRIMARY KEY, batch INTEGER NOT NULL,
    delivered INTEGER NOT NULL, skipped INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead (
    receiver TEXT NOT NULL, batch INTEGER NOT NULL, seq INTEGER NOT NULL, error TEXT NOT NULL,
    payload BLOB NOT NULL, PRIMARY KEY (receiver, batch, seq)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One row of the journal: consecutive events of one stream.

    Attributes:
        id: Position in the journal; ascends in the order of arrival.
        site: The site, as the channel named it.
        stream: The stream's id.
        count: How many events.
        body: Their frames; see ``frames.split``.
    """

    id: int
    site: str
    stream: str
    count: int
    body: bytes


class Journal(Cursors):
    """A journal file; safe to use from several threads of the one process that opened it.

    Args:
        path: Created (0600) if it does not exist.

    Attributes:
        appended: Notified after each commit of events.
        commits: How many there were; changes only under ``appended``.

    Raises:
        WorkspaceError: The file cannot be created or is no journal.
        DamagedError: It was written by a newer version of fedtrack.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA, FORMAT)
        self.appended = threading.Condition()
        self.commits = 0

    def apply(self, site: str, stream: str, runs: Iterable[frames.FrameRange]) -> int:
        """Store what is new in ``runs`` and return the stream's new high-water mark; see ``apply_all``."""
        marks = self.apply_all([(site, stream, run) for run in runs])
        return marks[site, stream] if marks else self.high_water(site, stream)

    def apply_all(
        self,
        batches: Iterable[tuple[str, str, frames.FrameRange]],
        marks_only: Iterable[tuple[str, str, int]] = (),
        counts: Iterable[tuple[str, str, Counts | None]] = (),
    ) -> dict[tuple[str, str], int]:
        """Store many (site, stream, run) in one transaction.

        Events at or below a stream's high-water mark are duplicates and dropped. When this returns, the rest is
        committed to the disk.

        Args:
            batches: What to store.
            marks_only: The new high-water marks (site, stream, mark) of streams that hold other sites' events.
            counts: What streams (site, stream, counts) hold no event for; None if that is not known.

        Returns:
            The new high-water mark of each (site, stream) that was named.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails. Nothing may be acknowledged.
        """
        marks: dict[tuple[str, str], int] = {}
        with self._lock, self._transaction():
            for site, stream, run in batches:
                key = (site, stream)
                if key not in marks:
                    marks[key] = self._high_water(self._writer, site, stream)
                marks[key] = self._store(site, stream, run, marks[key])
            for mark in marks_only:
                self._writer.execute(
                    "INSERT INTO hw VALUES (?,?,?,0) ON CONFLICT DO UPDATE SET last = max(last, excluded.last)", mark
                )
        with self.appended:
            self.commits += 1
            self.appended.notify_all()
        return marks

    def _store(self, site: str, stream: str, run: frames.FrameRange, mark: int) -> int:
        if run.last <= mark:
            return mark
        first, count, body = run.first, run.count, run.body
        if first <= mark:
            first, count, body = frames.tail(body, mark)
        count = frames.events_in(body, count)
        row = (site, stream, first, run.last, count, body, crc32(body), time_ns())
        self._writer.execute(
            "INSERT INTO batch (site, stream, first, last, n, body, crc, recv_ns) VALUES (?,?,?,?,?,?,?,?)", row
        )
        self._writer.execute(
            "INSERT INTO hw VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET last = excluded.last, n = n + excluded.n",
            (site, stream, run.last, count),
        )
        return run.last

    def record_gap(
        self,
        site: str,
        stream: str,
        kind: str | int,
        reason: str,
        first: int | None = None,
        last: int | None = None,
        *,
        count: int | None = None,
        size: int = 0,
    ) -> None:
        """Record that ``size`` bytes of a stream, or its events ``first`` to ``last``, will never arrive.

        A gap that is known already is not recorded again: a server that was killed finds it a second time.

        Raises:
            WorkspaceError: It was not recorded: the disk is full or fails.
        """
        size = kind if isinstance(kind, int) else size
        with self._lock, self._transaction():
            self._writer.execute(
                "INSERT INTO gap (site, stream, first, last, bytes, reason, recv_ns) SELECT ?1,?2,?3,?4,?5,?6,?7 "
                "WHERE NOT EXISTS (SELECT 1 FROM gap WHERE site = ?1 AND stream = ?2 AND bytes = ?5 AND reason = ?6)",
                (site, stream, first, last, size, reason, time_ns()),
            )

    def gaps(self) -> list[tuple[str, str, int, str]]:
        """Return (site, stream, bytes, reason) of every recorded gap, oldest first."""
        return self._reader().execute("SELECT site, stream, bytes, reason FROM gap ORDER BY id").fetchall()

    def high_water(self, site: str, stream: str) -> int:
        """Return the highest sequence number stored of a stream; 0 if there is none."""
        return self._high_water(self._reader(), site, stream)

    def high_waters(self, site: str) -> dict[str, int]:
        """Return the high-water mark of every stream of a site."""
        return dict(self._reader().execute("SELECT stream, last FROM hw WHERE site = ?", (site,)).fetchall())

    def counts(self) -> dict[str, int]:
        """Return how many events each site has in the journal; a site without any is left out."""
        return dict(
            self._reader().execute("SELECT site, sum(n) FROM hw WHERE n > 0 GROUP BY site ORDER BY site").fetchall()
        )

    def total(self) -> int:
        """Return how many events there are of all sites."""
        return int(self._reader().execute("SELECT coalesce(sum(n), 0) FROM hw").fetchone()[0])

    def counts_of(self, site: str) -> dict[str, int]:
        """Return how many events each stream of a site has in the journal."""
        return dict(self._reader().execute("SELECT stream, n FROM hw WHERE site = ?", (site,)).fetchall())

    def last_batch(self) -> int:
        """Return the id of the newest batch; 0 if there is none."""
        return int(self._reader().execute("SELECT coalesce(max(id), 0) FROM batch").fetchone()[0])

    def events_after(self, cursor: Cursor) -> int:
        """Return how many events a receiver at ``cursor`` has not seen yet."""
        query = "SELECT coalesce(sum(n), 0) FROM batch WHERE id > ?"
        return int(self._reader().execute(query, (cursor.batch,)).fetchone()[0])

    def read(self, after: int, limit_bytes: int = 4 * 1024 * 1024) -> list[StoredBatch]:
        """Return the batches with an id greater than ``after``, oldest first, up to about ``limit_bytes``.

        Of a batch that was changed on the disk after it was written, the events that are intact are returned, and
        a gap says that others are lost.

        Raises:
            WorkspaceError: The journal cannot be read.
        """
        query = "SELECT id, site, stream, first, n, body, crc FROM batch WHERE id > ? ORDER BY id"
        found: list[StoredBatch] = []
        damaged: list[StoredBatch] = []
        size = 0
        try:
            # Closed at once: an open read keeps the write-ahead log from being checkpointed.
            with contextlib.closing(self._reader().execute(query, (after,))) as rows:
                for id_, site, stream, first, count, body, crc in rows:
                    batch = StoredBatch(id_, site, stream, count, body)
                    if crc32(body) != crc:
                        damaged.append(batch)
                        batch = _salvage(batch, first)
                    found.append(batch)
                    size += len(body)
                    if size >= limit_bytes:
                        break
        except sqlite3.Error as error:
            raise WorkspaceError(f"{self.path}: the journal cannot be read: {error}.") from error
        for batch in damaged:
            self._report_damage(batch, next(intact for intact in found if intact.id == batch.id))
        return found

    def _report_damage(self, batch: StoredBatch, intact: StoredBatch) -> None:
        lost = batch.count - intact.count
        reason = f"batch {batch.id} of the journal was changed after it was written: {lost} of {batch.count} events"
        log.error("%s: %s are lost: %s", self.path, batch.site, reason)
        self.record_gap(batch.site, batch.stream, "changed", reason, size=len(batch.body) - len(intact.body))

    def source_of(self, batch: int) -> tuple[str, str]:
        """Return the (site, stream) of a batch that is in the journal."""
        row = self._reader().execute("SELECT site, stream FROM batch WHERE id = ?", (batch,)).fetchone()
        return str(row[0]), str(row[1])

    def prune(self, receivers: Iterable[str], before_ns: int) -> int:
        """Delete the batches that every receiver is done with and that arrived before a time; return their events.

        A batch that holds a dead letter stays, and the counts of a site go on including what was deleted.

        Args:
            receivers: Names of the receivers to wait for, besides all that ever had a cursor. Without any, nothing
                is deleted: the journal is the only place where the events are.
            before_ns: Nanoseconds since the epoch.

        Raises:
            WorkspaceError: Nothing was deleted: the disk is full or fails.
        """
        names = {*receivers, *self.cursors()}
        done = min((self.cursor(name).batch for name in names), default=0)
        which = "id <= ? AND recv_ns < ? AND id NOT IN (SELECT batch FROM dead)"
        with self._lock, self._transaction():
            query = f"SELECT site, sum(n) FROM batch WHERE {which} GROUP BY site"  # noqa: S608 - a constant
            deleted = self._writer.execute(query, (done, before_ns)).fetchall()
            self._writer.execute(f"DELETE FROM batch WHERE {which}", (done, before_ns))  # noqa: S608
            for site, count in deleted:
                self._writer.execute(
                    "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2",
                    (f"pruned:{site}", str(count)),
                )
        if deleted:
            with self._lock:
                self._writer.execute("VACUUM")  # gives the space back to the disk
        return sum(count for _, count in deleted)

    def pruned(self, site: str) -> int:
        """Return how many events of a site were deleted because every receiver has them."""
        return int(self.meta(f"pruned:{site}") or 0)

    def _high_water(self, connection: sqlite3.Connection, site: str, stream: str) -> int:
        row = connection.execute("SELECT last FROM hw WHERE site = ? AND stream = ?", (site, stream)).fetchone()
        return int(row[0]) if row else 0


def _salvage(batch: StoredBatch, first: int) -> StoredBatch:
    """Return what is intact of a batch; each of its frames has a checksum of its own."""
    salt = frames.salt_of(batch.stream)
    found = frames.scan(batch.body, salt, previous=first - 1, after_seq=0, final=True)
    runs = [part for part in found.parts if isinstance(part, frames.FrameRange)]
    body = b"".join(run.body for run in runs)
    return StoredBatch(batch.id, batch.site, batch.stream, sum(run.count for run in runs), body)
