"""Pruning: deletes the records of a journal that nobody needs any more, and keeps their counts and ranges."""

from __future__ import annotations

import json
from collections.abc import Collection

from fedtrack.journal.database import Database

_WHICH = "id <= ?1 AND recv_ns < ?2 AND id NOT IN (SELECT value FROM json_each(?3))"


def prune(database: Database, done: int, before_ns: int, keep: Collection[int]) -> int:
    """Delete the batches up to the id ``done`` that arrived before a time; return the number of their events.

    The counts of each stream stay, and for each round the range of its numbers.

    Args:
        database: The journal's database.
        done: Id of the last batch that nobody needs any more.
        before_ns: Nanoseconds since the epoch.
        keep: Ids of batches that nevertheless stay: those with dead letters.

    Raises:
        WorkspaceError: Nothing was deleted: the disk is full or fails.
    """
    values = (done, before_ns, json.dumps(list(keep)))
    with database.transaction() as writer:
        rows = writer.execute(
            f"SELECT site, stream, round, min(first), max(last), sum(n) FROM batch WHERE {_WHICH} "  # noqa: S608
            "GROUP BY site, stream, round ORDER BY min(id)",
            values,
        ).fetchall()
        writer.executemany("INSERT INTO pruned (site, stream, round, first, last, n) VALUES (?,?,?,?,?,?)", rows)
        writer.execute(f"DELETE FROM batch WHERE {_WHICH}", values)  # noqa: S608 - a constant
    if rows:
        database.shrink()
    return sum(row[-1] for row in rows)
