"""StoredStream: a stream in the journal, with its high-water mark, its round and its counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from fedtrack.tracking.counts import Counts


@dataclass(frozen=True, slots=True)
class StoredStream:
    """One stream of one site.

    Attributes:
        site: The site.
        stream: The stream's id.
        last: Its high-water mark; 0 if none of its records has arrived.
        count: How many of its events the journal has, or had before they were pruned.
        round: The round of its newest records, counted from 0; None if that is unknown.
        final: Its last number, from its site's goodbye; None before the goodbye.
        counts: The log calls that became no event; the known part of them, if ``counted`` is False.
        counted: Whether these counts are exact; None if no counts have arrived.
        chain: Head of the chain over its records; None if there is none.
    """

    site: str
    stream: str
    last: int
    count: int
    round: int | None
    final: int | None
    counts: Counts
    counted: bool | None
    chain: bytes | None

    @classmethod
    def of(
        cls,
        site: str,
        stream: str,
        last: int,
        count: int,
        round_: int | None,
        final: int | None,
        dropped: int,
        withheld: int,
        rejected: int,
        counted: int | None,
        chain: bytes | None,
    ) -> StoredStream:
        """Return a row of the table."""
        counts = Counts(dropped, withheld, rejected)
        return cls(site, stream, last, count, round_, final, counts, None if counted is None else bool(counted), chain)


def say_counts(writer: sqlite3.Connection, counts: Iterable[tuple[str, str, Counts | None]]) -> None:
    """Store (site, stream, counts) in the writer's transaction; None means that the counts are not known."""
    writer.executemany(
        "INSERT INTO stream (site, stream, dropped, withheld, rejected, counted) VALUES (?,?,?,?,?,?) "
        "ON CONFLICT DO UPDATE SET dropped = max(dropped, excluded.dropped), "
        "withheld = max(withheld, excluded.withheld), rejected = max(rejected, excluded.rejected), "
        "counted = excluded.counted",
        [(site, stream, *(found or Counts()), found is not None) for site, stream, found in counts],
    )


def say_ends(writer: sqlite3.Connection, streams: Iterable[tuple[str, str]]) -> None:
    """Store in the writer's transaction that the marks of (site, stream) are their final numbers."""
    writer.executemany(
        "INSERT INTO stream (site, stream, final) VALUES (?,?,0) ON CONFLICT DO UPDATE SET final = last", list(streams)
    )
