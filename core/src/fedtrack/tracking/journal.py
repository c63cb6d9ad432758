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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import NamedTuple
from zlib import crc32

from fedtrack.errors import DamagedError, FedtrackError, WorkspaceError
from fedtrack.tracking import frames

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


class Cursor(NamedTuple):
    """How far a receiver is.

    Attributes:
        batch: Id of the last batch that is done.
        delivered: Events that the receiver has taken and flushed.
        skipped: Events of a kind that the receiver does not support.
        dead: Events that it refused for good.
    """

    batch: int = 0
    delivered: int = 0
    skipped: int = 0
    dead: int = 0


class DeadLetter(NamedTuple):
    """An event that a receiver refused for good, kept with the backend's reason."""

    receiver: str
    batch: int
    seq: int
    error: str
    payload: bytes


class Journal:
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
        self.path = path
        self._lock = threading.Lock()
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self.appended = threading.Condition()
        self.commits = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._writer = self._connect()
            self._prepare()
        except (OSError, ValueError, sqlite3.DatabaseError) as error:
            self.close()
            raise WorkspaceError(f"{path} cannot be used as a journal: {error}; choose another workspace.") from None
        except FedtrackError:
            self.close()
            raise

    def _prepare(self) -> None:
        tables = "SELECT count(*) FROM sqlite_master"
        if self._writer.execute(tables).fetchone()[0]:
            self._check_format()  # before anything is written
        self._writer.execute("PRAGMA journal_mode=WAL")
        self._writer.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            if self._writer.execute(tables).fetchone()[0] == 0:
                for statement in _SCHEMA.split(";"):
                    self._writer.execute(statement)
                self._writer.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))

    def _check_format(self) -> None:
        row = self._writer.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        found = int(row[0]) if row else 0
        if found > FORMAT:
            raise DamagedError(
                f"{self.path} has format {found}, this version of fedtrack reads up to {FORMAT}; upgrade it."
            )

    def apply(self, site: str, stream: str, runs: Iterable[frames.Run]) -> int:
        """Store what is new in ``runs`` and return the stream's new high-water mark; see ``apply_all``."""
        marks = self.apply_all([(site, stream, run) for run in runs])
        return marks[site, stream] if marks else self.high_water(site, stream)

    def apply_all(self, batches: Iterable[tuple[str, str, frames.Run]]) -> dict[tuple[str, str], int]:
        """Store many (site, stream, run) in one transaction.

        Events at or below a stream's high-water mark are duplicates and dropped. When this returns, the rest is
        committed to the disk.

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
        with self.appended:
            self.commits += 1
            self.appended.notify_all()
        return marks

    def _store(self, site: str, stream: str, run: frames.Run, mark: int) -> int:
        if run.last <= mark:
            return mark
        first, count, body = run.first, run.count, run.body
        if first <= mark:
            first, count, body = frames.tail(body, mark)
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
        self, site: str, stream: str, size: int, reason: str, first: int | None = None, last: int | None = None
    ) -> None:
        """Record that ``size`` bytes of a stream, or its events ``first`` to ``last``, will never arrive.

        A gap that is known already is not recorded again: a server that was killed finds it a second time.

        Raises:
            WorkspaceError: It was not recorded: the disk is full or fails.
        """
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
        """Return how many events each site has in the journal."""
        return dict(self._reader().execute("SELECT site, sum(n) FROM hw GROUP BY site ORDER BY site").fetchall())

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
        self.record_gap(batch.site, batch.stream, len(batch.body) - len(intact.body), reason)

    def cursor(self, receiver: str) -> Cursor:
        """Return how far a receiver is."""
        row = (
            self._reader()
            .execute("SELECT batch, delivered, skipped, dead FROM cursor WHERE receiver = ?", (receiver,))
            .fetchone()
        )
        return Cursor(*row) if row else Cursor()

    def cursors(self) -> dict[str, Cursor]:
        """Return how far every receiver is that ever had a cursor."""
        rows = self._reader().execute("SELECT receiver, batch, delivered, skipped, dead FROM cursor")
        return {row[0]: Cursor(*row[1:]) for row in rows}

    def advance(self, receiver: str, cursor: Cursor, dead: Iterable[DeadLetter] = ()) -> None:
        """Store how far a receiver is, together with the events it refused on the way.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails.
        """
        with self._lock, self._transaction():
            self._writer.executemany(
                "INSERT OR IGNORE INTO dead VALUES (?,?,?,?,?)", [tuple(letter) for letter in dead]
            )
            self._writer.execute("INSERT OR REPLACE INTO cursor VALUES (?,?,?,?,?)", (receiver, *cursor))

    def dead_letters(self, receiver: str | None = None) -> list[DeadLetter]:
        """Return the events that receivers refused for good."""
        rows = self._reader().execute(
            "SELECT receiver, batch, seq, error, payload FROM dead WHERE ? IS NULL OR receiver = ? ORDER BY batch, seq",
            (receiver, receiver),
        )
        return [DeadLetter(*row) for row in rows]

    def meta(self, key: str) -> str | None:
        """Return a value stored with ``set_meta``."""
        row = self._reader().execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Store a value about the run, such as its id."""
        with self._lock, self._transaction():
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close every connection; the file stays readable without a write-ahead log."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()

    def _high_water(self, connection: sqlite3.Connection, site: str, stream: str) -> int:
        row = connection.execute("SELECT last FROM hw WHERE site = ? AND stream = ?", (site, stream)).fetchone()
        return int(row[0]) if row else 0

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)
        self._opened.append(connection)
        return connection

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading: a reader never waits for the writer in WAL mode."""
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._readers.connection = self._connect()
            connection.execute("PRAGMA query_only=ON")
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise WorkspaceError(f"{self.path}: the journal cannot be written: {error}.") from error


def _salvage(batch: StoredBatch, first: int) -> StoredBatch:
    """Return what is intact of a batch; each of its frames has a checksum of its own."""
    salt = frames.salt_of(batch.stream)
    found = frames.scan(batch.body, salt, previous=first - 1, after_seq=0, final=True)
    runs = [part for part in found.parts if isinstance(part, frames.Run)]
    body = b"".join(run.body for run in runs)
    return StoredBatch(batch.id, batch.site, batch.stream, sum(run.count for run in runs), body)
