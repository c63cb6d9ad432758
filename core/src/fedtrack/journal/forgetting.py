"""Forgetting: removes everything of a site from a journal, and leaves a tombstone that says so."""

from __future__ import annotations

import sqlite3
from time import time_ns
from typing import Any

import msgspec

from fedtrack.journal.database import Database
from fedtrack.journal.goodbyes import Query

_KEY = "forgotten/"
_TABLES = ("batch", "stream", "gap", "goodbye", "pruned")


class Passed(msgspec.Struct):
    """What a receiver had done with a site's events.

    Attributes:
        delivered: How many it had taken.
        skipped: How many it does not support, by kind.
        dead: How many it had refused.
    """

    delivered: int = 0
    skipped: dict[str, int] = {}
    dead: int = 0


class Tombstone(msgspec.Struct):
    """What is left of a site; keys are only ever added.

    Attributes:
        at_ns: When it was forgotten, nanoseconds since the epoch.
        events: How many of its events the journal had.
        receivers: What each receiver had done with them, by component id.
        blobs: The files that still have to be deleted; none when that is done.
    """

    at_ns: int
    events: int
    receivers: dict[str, Passed] = {}
    blobs: list[str] = []


class Forgetting:
    """The sites that a journal has forgotten.

    Args:
        database: The journal's database.
        rows: Returns the rows of a query.
    """

    def __init__(self, database: Database, rows: Query) -> None:
        self._database = database
        self._rows = rows

    def all(self) -> dict[str, Tombstone]:
        """Return the tombstone of each site that was forgotten."""
        found = self._rows(f"SELECT key, value FROM meta WHERE key LIKE '{_KEY}%' ORDER BY key")  # noqa: S608 - constant
        return {key.removeprefix(_KEY): msgspec.json.decode(value, type=Tombstone) for key, value in found}

    def forget(self, site: str, receivers: dict[str, Passed], blobs: list[str]) -> Tombstone:
        """Remove a site's records, marks, losses and goodbye, and return its tombstone.

        Args:
            site: The site.
            receivers: What each receiver had done with its events.
            blobs: The files that only its records refer to.

        Raises:
            WorkspaceError: Nothing was removed: the disk is full or fails.
        """
        self._database.writer.execute("PRAGMA secure_delete = ON")  # deleted rows are overwritten, not only unlinked
        with self._database.transaction() as writer:
            query = "SELECT coalesce(sum(n), 0) FROM stream WHERE site = ?"
            events = int(writer.execute(query, (site,)).fetchone()[0])
            stone = Tombstone(time_ns(), events, receivers, blobs)
            _write(writer, site, stone)
            for table in _TABLES:
                writer.execute(f"DELETE FROM {table} WHERE site = ?", (site,))  # noqa: S608 - a constant
        self._database.shrink()
        # The write-ahead log has the removed rows, until it is begun anew.
        self._database.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return stone

    def end(self, site: str, stone: Tombstone) -> None:
        """Note that the site's files are deleted as well.

        Raises:
            WorkspaceError: It was not stored: the disk is full or fails.
        """
        stone.blobs = []
        with self._database.transaction() as writer:
            _write(writer, site, stone)


def _write(writer: sqlite3.Connection, site: str, stone: Tombstone) -> None:
    values: tuple[Any, ...] = (f"{_KEY}{site}", msgspec.json.encode(stone).decode())
    writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
