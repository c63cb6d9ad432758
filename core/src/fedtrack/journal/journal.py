"""Journal: a node's SQLite store of every event, exactly once, in order per (site, stream).

A batch is one row with the frames of the spool. The stream's new high-water mark is in the same transaction. This is
seven times faster than a row per event, and the mark alone decides whether an event is a duplicate. The mark is also
the acknowledgement; it is returned after COMMIT with ``synchronous=FULL``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from time import time_ns
from zlib import crc32

from fedtrack.errors import WorkspaceError
from fedtrack.journal.batches import StoredBatch, salvaged
from fedtrack.journal.database import Database
from fedtrack.journal.gaps import GapKind, StoredGap, record
from fedtrack.journal.goodbyes import Goodbye, Goodbyes
from fedtrack.journal.pruning import prune
from fedtrack.journal.schema import JOURNAL
from fedtrack.journal.streams import StoredStream, say_counts, say_ends
from fedtrack.spool import frames
from fedtrack.tracking.counts import Counts

__all__ = ["GapKind", "Goodbye", "Journal", "StoredBatch", "StoredGap", "StoredStream"]


class Journal:
    """A journal file; safe to use from several threads of the one process that opened it.

    Args:
        path: The file; created (0600) if it does not exist. A file of format 1 is copied and then migrated.
        read_only: Whether nothing will be written. Then the file must exist, and no format is migrated.

    Attributes:
        database: The database in the file.
        goodbyes: The goodbyes of the sites.
        appended: Notified after each commit of events.
        commits: The number of such commits; changes only under ``appended``.

    Raises:
        WorkspaceError: The file cannot be created or is not a journal.
        DamagedError: The file was written by a newer version of fedtrack.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.database = Database(path, JOURNAL, read_only=read_only)
        self.goodbyes = Goodbyes(self.database)
        self.appended = threading.Condition()
        self.commits = 0

    @property
    def path(self) -> Path:
        """The file."""
        return self.database.path

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def meta(self, key: str) -> str | None:
        """Return a value stored with ``set_meta``."""
        return self.database.meta(key)

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
    ) -> dict[tuple[str, str], int]:
        """Store many (site, stream, run) in one transaction.

        Records at or below a stream's high-water mark are duplicates and dropped. When this returns, the rest is
        committed to the disk.

        Args:
            batches: The batches to store.
            marks_only: New high-water marks (site, stream, mark) of streams whose events belong to other sites.
            counts: The log calls of a stream that became no event (site, stream, counts); None if they are not known.
                A count never decreases.
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
        with self.appended:
            self.commits += 1
            self.appended.notify_all()
        return marks

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
        rows = self._all("SELECT site, stream, kind, reason, count, first, last, bytes FROM gap ORDER BY id")
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
        return _high_water(self.database.reader(), site, stream)

    def high_waters(self, site: str) -> dict[str, int]:
        """Return the high-water mark of every stream of a site."""
        return dict(self._all("SELECT stream, last FROM stream WHERE site = ? AND last > 0", (site,)))

    def counts(self) -> dict[str, int]:
        """Return how many events each site has in the journal; sites without events are left out."""
        return dict(self._all("SELECT site, sum(n) FROM stream WHERE n > 0 GROUP BY site ORDER BY site"))

    def total(self) -> int:
        """Return the number of events of all sites."""
        return int(self._all("SELECT coalesce(sum(n), 0) FROM stream")[0][0])

    def counts_of(self, site: str) -> dict[str, int]:
        """Return how many events each stream of a site has in the journal."""
        return dict(self._all("SELECT stream, n FROM stream WHERE site = ? AND last > 0", (site,)))

    def last_batch(self) -> int:
        """Return the id of the newest batch, also if it was pruned; 0 if there never was a batch."""
        rows = self._all("SELECT seq FROM sqlite_sequence WHERE name = 'batch'")
        return int(rows[0][0]) if rows else 0

    def events_after(self, batch: int, listens: Callable[[str], bool] = lambda site: True) -> int:
        """Return how many events come after a batch, of the sites for which ``listens`` is true."""
        rows = self._all("SELECT site, sum(n) FROM batch WHERE id > ? GROUP BY site", (batch,))
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
        query = "SELECT id, site, stream, first, n, round, body, crc FROM batch WHERE id > ? ORDER BY id"
        found: list[StoredBatch] = []
        size = 0
        try:
            # Closed at once: an open read keeps the write-ahead log from being checkpointed.
            with contextlib.closing(self.database.reader().execute(query, (after,))) as rows:
                for id_, site, stream, first, count, round_, body, crc in rows:
                    batch = StoredBatch(id_, site, stream, count, body, round_)
                    if crc32(body) != crc:
                        batch = salvaged(batch, first)
                    found.append(batch)
                    size += len(body)
                    if size >= limit_bytes:
                        break
        except sqlite3.Error as error:
            raise WorkspaceError(f"{self.path}: the journal cannot be read: {error}.") from error
        return found

    def prune(self, done: int, before_ns: int, keep: Collection[int] = ()) -> int:
        """Delete batches that nobody needs any more and return the number of their events; see ``pruning.prune``."""
        return prune(self.database, done, before_ns, keep)

    def pruned(self, site: str) -> int:
        """Return how many events of a site were deleted because every receiver has them."""
        return int(self._all("SELECT coalesce(sum(n), 0) FROM pruned WHERE site = ?", (site,))[0][0])

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list[tuple]:  # type: ignore[type-arg]
        return self.database.reader().execute(query, values).fetchall()


def _high_water(connection: sqlite3.Connection, site: str, stream: str) -> int:
    row = connection.execute("SELECT last FROM stream WHERE site = ? AND stream = ?", (site, stream)).fetchone()
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
