"""Format 1: journals of that format had the receivers' cursors and dead letters, which a ledger takes over."""

from __future__ import annotations

import sqlite3

from fedtrack.journal.journal import Journal


def take(journal: Journal, writer: sqlite3.Connection, unknown_kind: str) -> None:
    """Copy the receivers' state from a journal of format 1 into a new ledger, if the journal has any.

    Args:
        journal: The journal, unchanged or migrated.
        writer: The ledger's connection, in a transaction.
        unknown_kind: The kind under which skipped events are counted.
    """
    reader = journal.database.reader()
    if not _holds_cursors(reader):
        return
    cursors = reader.execute("SELECT receiver, batch, delivered, skipped, dead FROM cursor").fetchall()
    letters = reader.execute(
        "SELECT dead.receiver, coalesce(batch.site, ''), coalesce(batch.stream, ''), dead.seq, dead.batch, "
        "dead.error, dead.payload FROM dead LEFT JOIN batch ON batch.id = dead.batch"
    )
    writer.executemany("INSERT INTO cursor VALUES (?,?,?,?,?)", cursors)
    writer.executemany(
        "INSERT INTO skipped VALUES (?,?,?)",
        [(receiver, unknown_kind, skipped) for receiver, _, _, skipped, _ in cursors if skipped],
    )
    writer.executemany("INSERT INTO dead VALUES (?,?,?,?,?,?,?)", letters)
    # Format 1 has only the number of the dropped letters.
    for key, count in reader.execute("SELECT key, value FROM meta WHERE key LIKE 'dropped:%'").fetchall():
        writer.executemany(
            "INSERT INTO dropped (receiver, site, stream, seq, batch, error) VALUES (?, '', '', 0, 0, '')",
            [(key.removeprefix("dropped:"),)] * int(count),
        )


def forget(journal: Journal) -> None:
    """Delete the tables that the ledger has taken over from a migrated journal.

    Raises:
        WorkspaceError: Nothing was deleted: the disk is full or fails.
    """
    if not _holds_cursors(journal.database.reader()):
        return
    with journal.database.transaction() as writer:
        writer.execute("DROP TABLE IF EXISTS cursor")
        writer.execute("DROP TABLE IF EXISTS dead")
        writer.execute("DELETE FROM meta WHERE key LIKE 'dropped:%'")


def _holds_cursors(reader: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'cursor'"
    return reader.execute(query).fetchone() is not None
