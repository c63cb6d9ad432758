"""Journal: a node's SQLite store of every event, exactly once, in order per (site, stream).

A batch is one row with the frames of the spool. The stream's new high-water mark is in the same transaction. This is
seven times faster than a row per event, and the mark alone decides whether an event is a duplicate. The mark is also
the acknowledgement; it is returned after COMMIT with ``synchronous=FULL``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from time import time_ns
from zlib import crc32

from fedtrack.errors import WorkspaceError
from fedtrack.journal.batches import StoredBatch, salvaged
from fedtrack.journal.database import DamagedDatabaseError, Database, is_damage
from fedtrack.journal.forgetting import Forgetting
from fedtrack.journal.gaps import GapKind, StoredGap, record
from fedtrack.journal.goodbyes import Goodbye, Goodbyes
from fedtrack.journal.pruning import prune
from fedtrack.journal.read_around import ReadAround, damage_of
from fedtrack.journal.schema import JOURNAL
from fedtrack.journal.streams import StoredStream, say_counts, say_ends
from fedtrack.spool import frames
from fedtrack.tracking.counts import Counts

_GAPS = "SELECT site, stream, kind, reason, count, first, last, bytes FROM gap ORDER BY id"
_HIGH_WATER = "SELECT last FROM stream WHERE site = ? AND stream = ?"

__all__ = ["GapKind", "Goodbye", "Journal", "StoredBatch", "StoredGap", "StoredStream"]


class Journal:
    """A journal file; safe to use from several threads of the one process that opened it.

    Args:
        path: The file; created (0600) if it does not exist. A file of format 1 is copied and then migrated.
        read_only: Whether nothing will be written. Then the file must exist, and no format is migrated. Of a damaged
            file, what is intact is read.

    Attributes:
        path: The file.
        database: The database in the file.
        goodbyes: The goodbyes of the sites.
        forgotten: The sites of which nothing is kept any more.
        appended: Notified after each commit of events.
        commits: The number of such commits; changes only under ``appended``.

    Raises:
        WorkspaceError: The file cannot be created, is not a journal, or is damaged and should be written.
        DamagedError: The file was written by a newer version of fedtrack.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._around: ReadAround | None = None
        self._streams: frozenset[tuple[str, str]] = frozenset()
        try:
            self.database = Database(path, JOURNAL, read_only=read_only)
        except DamagedDatabaseError as error:
            if not read_only:
                raise
            self._read_around(str(error))
            self.database = self._copy()
        self.goodbyes = Goodbyes(self.database, self._all)
        self.forgotten = Forgetting(self.database, self._all)
        self.appended = threading.Condition()
        self.commits = 0

    def close(self) -> None:
        """Close the file."""
        self.database.close()
        if self._around is not None:
            self._around.close()

    def meta(self, key: str) -> str | None:
        """Return a value stored with ``set_meta``."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, key: str, value: str) -> None:
        """Store a value about the run, such as its id."""
        self.database.set_meta(key, value)

    def apply(self, site: str, stream: str, runs: Iterable[frames.FrameRange]) -> int:
        """Store the new events of ``runs`` and return the stream's new high-water mark; see ``apply_all``."""
        marks = self.apply_all([(site, stream, run) for run in runs])
        return marks[site, stream] if marks else self.high_water(site, stream)

    def apply_all(
        self,
        batches: Iterable[tuple[str, str, frames.FrameRange]],
        marks_only: Iterable[tuple[str, str, int]] = (),
        counts: Iterable[tuple[str, str, Counts | None]] = (),
        ends: Iterable[tuple[str, str]] = (),
        meta: Mapping[str, str] | None = None,
    ) -> dict[tuple[str, str], int]:
        """Store many (site, stream, run) in one transaction.

        Records at or below a stream's high-water mark are duplicates and dropped. When this returns, the rest is
        committed to the disk.

        Args:
            batches: The batches to store.
            marks_only: New high-water marks (site, stream, mark) of streams whose events belong to other sites.
            counts: The log calls of a stream that became no event (site, stream, counts); None if they are not known.
                A count never decreases.
            meta: Values about the run that are true with these batches, such as the state of a view; see ``set_meta``.
            ends: The streams (site, stream) that have no further records: their mark becomes their final number. Their
                last segment may be deleted after that. If it is gone before, somebody else has deleted it.

        Returns:
            The new high-water mark of each (site, stream) that was named in ``batches``.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails. Nothing may be acknowledged.
        """
        marks: dict[tuple[str, str], int] = {}
        with self.database.transaction() as writer:
            for site, stream, run in batches:
                key = (site, stream)
                if key not in marks:
                    marks[key] = _high_water(writer, site, stream)
                marks[key] = _store(writer, site, stream, run, marks[key])
            writer.executemany(
                "INSERT INTO stream (site, stream, last) VALUES (?,?,?) "
                "ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
                marks_only,
            )
            say_counts(writer, counts)
            say_ends(writer, ends)
            writer.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", (meta or {}).items())
        self.announce()
        return marks

    def announce(self) -> None:
        """Wake those who wait for events: there are new ones, also if another process has stored them."""
        with self.appended:
            self.commits += 1
            self.appended.notify_all()

    def record_gap(
        self,
        site: str,
        stream: str,
        kind: GapKind,
        reason: str,
        *,
        count: int | None = None,
        first: int | None = None,
        last: int | None = None,
        size: int = 0,
    ) -> None:
        """Record a permanent loss; see ``StoredGap``.

        A known loss is not recorded again, because a server that was killed finds it a second time.

        Raises:
            WorkspaceError: The loss was not recorded: the disk is full or fails.
        """
        record(self.database, StoredGap(site, stream, str(kind), reason, count, first, last, size))

    def gaps(self) -> list[StoredGap]:
        """Return every recorded gap, oldest first."""
        rows = self._all(_GAPS)
        return [StoredGap(*row) for row in rows]

    def streams(self) -> list[StoredStream]:
        """Return each stream of each site, with its marks and counts."""
        rows = self._all(
            "SELECT site, stream, last, n, round, final, dropped, withheld, rejected, counted, chain FROM stream "
            "ORDER BY site, stream"
        )
        return [StoredStream.of(*row) for row in rows]

    def unfinished(self, site: str) -> list[str]:
        """Return the streams of a site that a forwarder has begun to read here, and has not read to the end."""
        query = "SELECT stream FROM stream WHERE site = ? AND counted IS NOT NULL AND final IS NULL ORDER BY stream"
        return [row[0] for row in self._all(query, (site,))]

    def finished(self, site: str) -> set[str]:
        """Return the streams of a site of which the journal knows the final number."""
        return {row[0] for row in self._all("SELECT stream FROM stream WHERE site = ? AND final IS NOT NULL", (site,))}

    def high_water(self, site: str, stream: str) -> int:
        """Return a stream's high-water mark, its highest stored sequence number; 0 if there is none."""
        rows = self._all(_HIGH_WATER, (site, stream))
        return int(rows[0][0]) if rows else 0

    def high_waters(self, site: str) -> dict[str, int]:
        """Return the high-water mark of every stream of a site."""
        return dict(self._all("SELECT stream, last FROM stream WHERE site = ? AND last > 0", (site,)))

    def counts(self) -> dict[str, int]:
        """Return how many events each site has in the journal; sites without events are left out."""
        return dict(self._all("SELECT site, sum(n) FROM stream WHERE n > 0 GROUP BY site ORDER BY site"))

    def total(self) -> int:
        """Return the number of events of all sites."""
        query = "SELECT coalesce(sum(n), 0) FROM stream"
        rows = self._all(query) if self._around is None else self._copy().reader().execute(query).fetchall()
        return int(rows[0][0])

    def counts_of(self, site: str) -> dict[str, int]:
        """Return how many events each stream of a site has in the journal."""
        return dict(self._all("SELECT stream, n FROM stream WHERE site = ? AND last > 0", (site,)))

    def last_batch(self) -> int:
        """Return the id of the newest batch, also if it was pruned; 0 if there never was a batch."""
        rows = self._all("SELECT seq FROM sqlite_sequence WHERE name = 'batch'")
        return int(rows[0][0]) if rows else 0

    def events_after(self, batch: int, listens: Callable[[str], bool] = lambda site: True) -> int:
        """Return how many events come after a batch, of the sites for which ``listens`` is true."""
        query = "SELECT site, sum(n) FROM batch WHERE id > ? GROUP BY site"
        if self._around is None:
            rows = self._all(query, (batch,))
        else:
            rows = self._copy().reader().execute(query, (batch,)).fetchall()
        return sum(count for site, count in rows if listens(site))

    def counts_up_to(self, batch: int) -> dict[str, int]:
        """Return how many events of each site are in the batches up to the one with this id."""
        return dict(self._all("SELECT site, sum(n) FROM batch WHERE id <= ? GROUP BY site", (batch,)))

    def read(self, after: int, limit_bytes: int = 4 * 1024 * 1024) -> list[StoredBatch]:
        """Return the batches with an id greater than ``after``, oldest first, up to about ``limit_bytes``.

        A batch that was changed on the disk after it was written is returned with its intact frames, and with the
        number of its lost events. Nothing is written.

        Raises:
            WorkspaceError: The journal cannot be read.
        """
        query = "SELECT id, site, stream, first, last, n, round, body, crc FROM batch WHERE id > ? ORDER BY id"
        if self._around is None:
            try:
                return _read(self.database.reader(), query, after, limit_bytes, self._is_known)
            except (sqlite3.Error, ValueError) as error:
                if isinstance(error, sqlite3.Error) and not is_damage(error):
                    raise WorkspaceError(f"{self.path}: the journal cannot be read: {error}.") from error
                self._read_around(str(error))
        return _read(self._copy().reader(), query, after, limit_bytes, lambda site, stream: True)

    def prune(self, done: int, before_ns: int, keep: Collection[int] = ()) -> int:
        """Delete batches that nobody needs any more and return the number of their events; see ``pruning.prune``."""
        return prune(self.database, done, before_ns, keep)

    def pruned(self, site: str) -> int:
        """Return how many events of a site were deleted because every receiver has them."""
        return int(self._all("SELECT coalesce(sum(n), 0) FROM pruned WHERE site = ?", (site,))[0][0])

    def check(self) -> str:
        """Read the whole file and return the first damage that SQLite finds in it, or "".

        From then on, everything is read around the damage.
        """
        if self._around is None and (problem := damage_of(self.path)):
            self._read_around(problem)
        return self.damage

    @property
    def damage(self) -> str:
        """The damage that was found in the file so far, or ""."""
        return "" if self._around is None else self._around.reason

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list[tuple]:  # type: ignore[type-arg]
        if self._around is None:
            try:
                return self.database.reader().execute(query, values).fetchall()
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._read_around(str(error))
        return self._copy(fresh=True).reader().execute(query, values).fetchall()

    def _is_known(self, site: str, stream: str) -> bool:
        """Return whether the journal has a mark for a stream: it has one before it has a batch."""
        if (site, stream) not in self._streams:
            self._streams = frozenset(self._all("SELECT site, stream FROM stream"))
        return (site, stream) in self._streams

    def _read_around(self, reason: str) -> None:
        """Read from an intact copy from now on.

        Raises:
            WorkspaceError: There is no room for it.
        """
        with self._lock:
            if self._around is None:
                try:
                    self._around = ReadAround(self.path, reason)
                except OSError as error:
                    raise WorkspaceError(f"{self.path} is damaged and cannot be read: {error}.") from None

    def _copy(self, *, fresh: bool = False) -> Database:
        assert self._around is not None  # noqa: S101 - the caller has looked
        return self._around.database(fresh=fresh)


def _read(
    connection: sqlite3.Connection, query: str, after: int, limit_bytes: int, is_known: Callable[[str, str], bool]
) -> list[StoredBatch]:
    """Return batches in the order of their ids.

    Raises:
        ValueError: A row is none, not in its place, or of a stream that is not known.
    """
    found: list[StoredBatch] = []
    size = 0
    # Closed at once: an open read keeps the write-ahead log from being checkpointed.
    with contextlib.closing(connection.execute(query, (after,))) as rows:
        for id_, site, stream, first, last, count, round_, body, crc in rows:
            numbers = (id_, first, last, count, crc)
            if not all(type(number) is int for number in numbers) or type(body) is not bytes or id_ <= after:
                raise ValueError(f"the row behind batch {after} is not in its place")
            if type(site) is not str or type(stream) is not str or not is_known(site, stream):
                raise ValueError(f"batch {id_} is of no stream of this journal")
            after = id_
            batch = StoredBatch(id_, site, stream, count, body, round_, last=last)
            if crc32(body) != crc:
                batch = salvaged(batch, first, last)
            found.append(batch)
            size += len(body)
            if size >= limit_bytes:
                break
    return found


def _high_water(connection: sqlite3.Connection, site: str, stream: str) -> int:
    row = connection.execute(_HIGH_WATER, (site, stream)).fetchone()
    return int(row[0]) if row else 0


def _store(writer: sqlite3.Connection, site: str, stream: str, run: frames.FrameRange, mark: int) -> int:
    if run.last <= mark:
        return mark
    if run.first <= mark:
        first, count, body = frames.tail(run.body, mark)
        run = frames.FrameRange(first, run.last, count, body, run.round, run.plain)
    events = run.events
    row = (site, stream, run.first, run.last, events, run.round, run.body, crc32(run.body), time_ns())
    writer.execute(
        "INSERT INTO batch (site, stream, first, last, n, round, body, crc, recv_ns) VALUES (?,?,?,?,?,?,?,?,?)", row
    )
    writer.execute(
        "INSERT INTO stream (site, stream, last, n, round) VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET "
        "last = excluded.last, n = n + excluded.n, round = excluded.round",
        (site, stream, run.last, events, run.round),
    )
    return run.last
