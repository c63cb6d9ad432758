"""Ledger: ``delivery.db``, with each receiver's progress, its refused events, and the damage found in the journal.

It is a file of its own, so that the journal has one writer. With the cursors in the journal, its commits waited for
those of the cursors (6 ms instead of 2 ms, and without end if the receivers never paused).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time_ns
from typing import NamedTuple

from fedtrack.delivery.format_1 import forget, take
from fedtrack.delivery.ledger_lock import LOCK_FILE, LedgerLock
from fedtrack.delivery.ledger_rescue import rescue_ledger
from fedtrack.delivery.ledger_schema import LEDGER, LEDGER_FILE, OWNER
from fedtrack.errors import WorkspaceError
from fedtrack.journal.database import Database
from fedtrack.journal.journal import GapKind, Journal, StoredBatch, StoredGap
from fedtrack.journal.read_around import damage_of
from fedtrack.tracking.events import SERVER

log = logging.getLogger(__name__)

__all__ = ["LEDGER_FILE", "UNKNOWN_KIND", "Cursor", "DeadLetter", "Ledger"]

#: The kind of the skipped events of a journal of format 1, which counted them without a kind.
UNKNOWN_KIND = "unknown"


#: The count of a loss that is not known.
_UNKNOWN = -1


class Cursor(NamedTuple):
    """The progress of a receiver.

    Attributes:
        batch: Id of the journal's last batch that is done.
        delivered: Events that the receiver has taken and flushed.
        skipped: Events of a kind that the receiver does not support.
        dead: Events that the receiver refused for good.
    """

    batch: int = 0
    delivered: int = 0
    skipped: int = 0
    dead: int = 0


class DeadLetter(NamedTuple):
    """An event that a receiver refused for good, kept with the backend's reason."""

    receiver: str
    site: str
    stream: str
    seq: int
    batch: int
    error: str
    payload: bytes


class Ledger:
    """The ledger of one journal; safe to use from several threads.

    The processes that share its lock write it: a node's, and the deliverers that this one has started. The receivers'
    state in a journal of format 1 is taken over once.

    Args:
        path: The file; created (0600) if it does not exist. The ledger of another journal is put aside.
        journal: The journal whose events are delivered.
        read_only: Whether nothing will be written; then the file need not exist.
        locked: Whether this process has inherited the lock from the one that started it.
        patience: How many seconds to wait for a process that writes the ledger and may be about to end.

    Attributes:
        path: The file.
        lock: The lock; None if nothing will be written, or the lock was inherited.

    Raises:
        WorkspaceError: Another process writes the ledger, or it cannot be created.
        DamagedError: The ledger was written by a newer version of fedtrack.
    """

    def __init__(
        self, path: Path, journal: Journal, *, read_only: bool = False, locked: bool = False, patience: float = 0.0
    ) -> None:
        self.path = path
        self.lock: LedgerLock | None = None
        self._temporary: TemporaryDirectory[str] | None = None
        identity = journal.meta("id")
        problem = damage_of(path)
        if read_only and problem:
            self._temporary = TemporaryDirectory(prefix="fedtrack-ledger-")
            copy = Path(self._temporary.name) / LEDGER_FILE
            log.error("%s is damaged, and read around the damage: %s", path, problem)
            rescue_ledger(path, copy, identity or "")
            self.database = Database(copy, LEDGER, read_only=True)
            return
        if read_only and identity is not None and _owner(path) == identity:
            self.database = Database(path, LEDGER, read_only=True)
            return
        if read_only:
            self._temporary = TemporaryDirectory(prefix="fedtrack-ledger-")
            path = Path(self._temporary.name) / LEDGER_FILE
        elif identity is None:
            raise WorkspaceError(f"{journal.path} is of an older version; it has to be opened for writing first.")
        elif not locked:
            self.lock = LedgerLock(path.with_name(LOCK_FILE), patience)
        try:
            if problem and not read_only:
                _replace_damaged(path, identity or "", problem)
            if _owner(path) not in (None, identity):
                _put_aside(path)
            self.database = Database(path, LEDGER)
            self._adopt(journal)
        except BaseException:
            self.close()
            raise

    def _adopt(self, journal: Journal) -> None:
        """Store the id of the journal, and take over the receivers' state from a journal of format 1."""
        if self.database.meta(OWNER) is None:
            with self.database.transaction() as writer:
                take(journal, writer, UNKNOWN_KIND)
                writer.execute("INSERT INTO meta VALUES (?, ?)", (OWNER, journal.meta("id") or ""))
        if not journal.database.read_only:
            forget(journal)
        last = journal.last_batch()
        if any(cursor.batch > last for cursor in self.cursors().values()):
            log.warning("%s is an older copy: what comes into it from now on is delivered again", journal.path)
            with self.database.transaction() as writer:
                reason = self._ahead(last)[1]
                writer.execute(
                    "INSERT OR IGNORE INTO damage VALUES (?,?,?,?,?,?,?)",
                    (-last, SERVER, "", _UNKNOWN, 0, reason, time_ns()),  # no batch has this id
                )
                writer.execute("UPDATE cursor SET batch = ?1 WHERE batch > ?1", (last,))

    def _ahead(self, last: int) -> tuple[int, str]:
        """Return the last batch that a receiver has had, and what it means that the journal ends at an earlier one."""
        most = max((cursor.batch for cursor in self.cursors().values()), default=0)
        return most, (
            f"the journal ends at batch {last}, and receivers have had batch {most}: it is an older copy, or its "
            "write-ahead log was removed"
        )

    def close(self) -> None:
        """Close the file, so that another process can write it."""
        if hasattr(self, "database"):
            self.database.close()
        if self.lock is not None:
            self.lock.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def cursor(self, receiver: str) -> Cursor:
        """Return the progress of a receiver."""
        return self.cursors().get(receiver, Cursor())

    def cursors(self) -> dict[str, Cursor]:
        """Return the progress of every receiver that has a cursor."""
        rows = self.database.reader().execute("SELECT receiver, batch, delivered, skipped, dead FROM cursor")
        return {row[0]: Cursor(*row[1:]) for row in rows.fetchall()}

    def skipped(self, receiver: str) -> dict[str, int]:
        """Return how many events a receiver has skipped, by kind."""
        query = "SELECT kind, n FROM skipped WHERE receiver = ? ORDER BY kind"
        return dict(self.database.reader().execute(query, (receiver,)).fetchall())

    def advance(
        self,
        receiver: str,
        cursor: Cursor,
        dead: Iterable[DeadLetter] = (),
        skipped: Mapping[str, int] | None = None,
        damaged: Iterable[StoredBatch] = (),
    ) -> None:
        """Store the progress of a receiver, with the events that it refused or skipped since the last call.

        Args:
            receiver: The receiver component's id.
            cursor: Its new progress.
            dead: The events that it refused.
            skipped: How many more events it skipped, by kind.
            damaged: The batches whose events were lost in the journal.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails.
        """
        with self.database.transaction() as writer:
            writer.executemany("INSERT OR IGNORE INTO dead VALUES (?,?,?,?,?,?,?)", dead)
            writer.execute("INSERT OR REPLACE INTO cursor VALUES (?,?,?,?,?)", (receiver, *cursor))
            writer.executemany(
                "INSERT INTO skipped VALUES (?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
                [(receiver, kind, count) for kind, count in (skipped or {}).items()],
            )
            writer.executemany(
                "INSERT OR IGNORE INTO damage VALUES (?,?,?,?,?,?,?)",
                [(b.id, b.site, b.stream, b.lost, b.lost_bytes, b.damage, time_ns()) for b in damaged],
            )

    def dead_letters(self, receiver: str | None = None) -> list[DeadLetter]:
        """Return the events that receivers refused for good, in the journal's order."""
        rows = self.database.reader().execute(
            "SELECT receiver, site, stream, seq, batch, error, payload FROM dead "
            "WHERE ?1 IS NULL OR receiver = ?1 ORDER BY batch, seq",
            (receiver,),
        )
        return [DeadLetter(*row) for row in rows.fetchall()]

    def rewind(self, receiver: str) -> None:
        """Let a receiver begin at the first event again; its progress and its dead letters are deleted.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails.
        """
        with self.database.transaction() as writer:
            for table in ("cursor", "skipped", "dead", "dropped"):
                writer.execute(f"DELETE FROM {table} WHERE receiver = ?", (receiver,))  # noqa: S608 - a constant

    def settle(self, receiver: str, delivered: Iterable[DeadLetter], dropped: Iterable[DeadLetter] = ()) -> None:
        """Remove dead letters that the receiver has ``delivered`` after all, or that a user has ``dropped``.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails.
        """
        taken, unwanted = list(delivered), list(dropped)
        with self.database.transaction() as writer:
            writer.executemany(
                "DELETE FROM dead WHERE receiver = ? AND site = ? AND stream = ? AND seq = ?",
                [(receiver, *letter[1:4]) for letter in taken + unwanted],
            )
            writer.execute(
                "UPDATE cursor SET delivered = delivered + ?1, dead = dead - ?1 WHERE receiver = ?2",
                (len(taken), receiver),
            )
            writer.executemany(
                "INSERT INTO dropped (receiver, site, stream, seq, batch, error, dropped_ns) VALUES (?,?,?,?,?,?,?)",
                [(receiver, *letter[1:6], time_ns()) for letter in unwanted],
            )

    def dropped(self, receiver: str) -> list[tuple[str, str, int]]:
        """Return (site, stream, seq) of the refused events that are not kept any more, because a user dropped them.

        Events dropped from a journal of format 1 have the site "" and the number 0.
        """
        query = "SELECT site, stream, seq FROM dropped WHERE receiver = ? ORDER BY id"
        return self.database.reader().execute(query, (receiver,)).fetchall()

    def lost_up_to(self, batch: int) -> dict[str, int]:
        """Return how many events of each site were lost in the journal's batches up to the one with this id."""
        query = "SELECT site, sum(max(count, 0)) FROM damage WHERE batch <= ? GROUP BY site"
        return dict(self.database.reader().execute(query, (batch,)).fetchall())

    def gaps(self, journal: Journal) -> list[StoredGap]:
        """Return the losses: those recorded in the journal, and the damage that deliveries found in it."""
        known = journal.gaps()
        said = {(gap.site, gap.stream, gap.reason) for gap in known}  # one of format 1 had it in the journal
        rows = self.database.reader().execute("SELECT site, stream, reason, count, bytes FROM damage ORDER BY batch")
        found = [
            StoredGap(site, stream, GapKind.CHANGED, reason, None if count == _UNKNOWN else count, size=size)
            for site, stream, reason, count, size in rows.fetchall()
        ]
        if self.database.read_only and (last := journal.last_batch()) < self._ahead(last)[0]:
            found.append(StoredGap(SERVER, "", GapKind.CHANGED, self._ahead(last)[1]))
        return known + [gap for gap in found if (gap.site, gap.stream, gap.reason) not in said]


def _owner(path: Path) -> str | None:
    """Return the id of a ledger's journal; None if there is no ledger, or it is still empty."""
    if not path.exists():
        return None
    database = Database(path, LEDGER, read_only=True)
    try:
        return database.meta(OWNER)
    finally:
        database.close()


def _replace_damaged(path: Path, journal: str, problem: str) -> None:
    """Replace a damaged ledger by one with everything that can be read of it; the damaged one is kept."""
    kept = path.with_name(f"{path.name}.damaged-{time_ns()}")
    log.error("%s is damaged: %s; it is kept as %s", path, problem, kept.name)
    new = path.with_name(f"{path.name}.new")
    for suffix in ("", "-wal", "-shm"):
        new.with_name(f"{new.name}{suffix}").unlink(missing_ok=True)
    rescue_ledger(path, new, journal)
    for suffix in ("", "-wal"):
        old = path.with_name(f"{path.name}{suffix}")
        if old.exists():
            os.link(old, kept.with_name(f"{kept.name}{suffix}"))
    for suffix in ("-wal", "-shm"):  # of the damaged file: SQLite must not apply it to the new one
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    new.replace(path)


def _put_aside(path: Path) -> None:
    """Keep the ledger of a removed journal under another name."""
    target = path.with_name(f"{path.name}.earlier-{time_ns()}")
    log.warning("%s is the ledger of another journal; it is kept as %s", path, target.name)
    database = Database(path, LEDGER)  # moves the content of a killed process's log into the file
    database.close()
    path.rename(target)
