"""Goodbye: a site's last message of a run, with its final numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, NamedTuple, TypeAlias

from fedtrack.journal.database import Database
from fedtrack.tracking.events import SERVER

#: Returns the rows of a query with these values.
Query: TypeAlias = Callable[..., list[tuple[Any, ...]]]


class Goodbye(NamedTuple):
    """A site's last message.

    Attributes:
        final: The last number of each stream; the site will log no further records.
        logged: Log calls that returned, as the script's process counted them; None if it died before.
        dropped: Log calls that were dropped, because the disk or the spool was full.
        withheld: Log calls that the site's policy keeps at the site.
        rejected: Log calls whose value fits no record.
        error: Why the site's script failed, or "".
        chain: Head of the chain over the site's records, for a site that keeps one.
        said_ns: The time of arrival, nanoseconds since the epoch; None if it was not recorded.
    """

    final: Mapping[str, int]
    logged: int | None = None
    dropped: int = 0
    withheld: int = 0
    rejected: int = 0
    error: str = ""
    chain: bytes | None = None
    said_ns: int | None = None


class Goodbyes:
    """The goodbyes in a journal; the final numbers are in the table of the streams.

    Args:
        database: The journal's database.
        rows: Returns the rows of a query.
    """

    def __init__(self, database: Database, rows: Query) -> None:
        self._database = database
        self._rows = rows

    def record(self, site: str, goodbye: Goodbye) -> None:
        """Store a site's goodbye; it replaces an earlier one.

        Raises:
            WorkspaceError: The goodbye was not stored: the disk is full or fails.
        """
        words = (goodbye.logged, goodbye.dropped, goodbye.withheld, goodbye.rejected, goodbye.error, goodbye.chain)
        with self._database.transaction() as writer:
            writer.execute("INSERT OR REPLACE INTO goodbye VALUES (?,?,?,?,?,?,?,?)", (site, time_ns(), *words))
            writer.execute("UPDATE stream SET final = NULL WHERE site = ?", (site,))
            writer.executemany(
                "INSERT INTO stream (site, stream, final) VALUES (?,?,?) "
                "ON CONFLICT DO UPDATE SET final = excluded.final",
                [(site, stream, last) for stream, last in goodbye.final.items()],
            )

    def all(self) -> dict[str, Goodbye]:
        """Return the goodbye of each site that has said one, also to an earlier process of the server."""
        final: dict[str, dict[str, int]] = {}
        for site, stream, last in self._rows("SELECT site, stream, final FROM stream WHERE final IS NOT NULL"):
            final.setdefault(site, {})[stream] = last
        rows = self._rows(
            "SELECT site, logged, dropped, withheld, rejected, error, chain, said_ns FROM goodbye ORDER BY site"
        )
        return {row[0]: Goodbye(final.get(row[0], {}), *row[1:]) for row in rows}

    def has_everything_of(self, site: str) -> bool:
        """Return whether a site has said goodbye and the journal has all records up to its final numbers.

        What a collector computes about its sites is of the server, which says no goodbye: all its streams have ended.
        """
        query = (
            "SELECT 1 FROM goodbye WHERE site = ?1 "
            "AND NOT EXISTS (SELECT 1 FROM stream WHERE site = ?1 AND final > last)"
        )
        if site == SERVER:
            query += " UNION SELECT 1 FROM stream WHERE site = ?1 GROUP BY site HAVING min(final IS last)"
        return bool(self._rows(query, (site,)))
