"""Cursors: how far each receiver is, and the events that receivers refused for good."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fedtrack.journal.database import Store


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


class Cursors(Store):
    """The part of the journal that belongs to its receivers."""

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

    def rewind(self, receiver: str) -> None:
        """Let a receiver begin at the first event again; its dead letters are forgotten with its cursor.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails.
        """
        with self._lock, self._transaction():
            self._writer.execute("DELETE FROM cursor WHERE receiver = ?", (receiver,))
            self._writer.execute("DELETE FROM dead WHERE receiver = ?", (receiver,))
            self._writer.execute("DELETE FROM meta WHERE key = ?", (_dropped(receiver),))

    def settle(self, receiver: str, delivered: Iterable[DeadLetter], dropped: Iterable[DeadLetter] = ()) -> None:
        """Take dead letters off the list: the receiver has ``delivered`` after all, and nobody wants the ``dropped``.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails.
        """
        taken, unwanted = list(delivered), list(dropped)
        count = len(unwanted) + self.dropped(receiver)
        with self._lock, self._transaction():
            self._writer.executemany(
                "DELETE FROM dead WHERE receiver = ? AND batch = ? AND seq = ?",
                [(receiver, letter.batch, letter.seq) for letter in taken + unwanted],
            )
            self._writer.execute(
                "UPDATE cursor SET delivered = delivered + ?1, dead = dead - ?1 WHERE receiver = ?2",
                (len(taken), receiver),
            )
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_dropped(receiver), str(count)))

    def dropped(self, receiver: str) -> int:
        """Return how many of the events that a receiver refused are not kept any more, because somebody said so."""
        return int(self.meta(_dropped(receiver)) or 0)


def _dropped(receiver: str) -> str:
    return f"dropped:{receiver}"
