"""Format 1: journals of that format held the receivers' cursors and dead letters; a ledger takes them over."""

from __future__ import annotations

import sqlite3

from fedtrack.journal.journal import Journal


def take(journal: Journal, writer: sqlite3.Connection, unknown_kind: str) -> None:
    """Copy what a journal of format 1 has of its receivers into a new ledger; nothing if it has nothing.

    Args:
        journal: As it is, or migrated.
        writer: The ledger's, in a transaction.
        unknown_kind: The kind under which events stand that were skipped.
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
    # Of letters that were dropped, format 1 has only the number.
    for key, count in reader.execute("SELECT key, value FROM meta WHERE key LIKE 'dropped:%'").fetchall():
        writer.executemany(
            "INSERT INTO dropped (receiver, site, stream, seq, batch, error) VALUES (?, '', '', 0, 0, '')",
            [(key.removeprefix("dropped:"),)] * int(count),
        )


def forget(journal: Journal) -> None:
    """Delete from a migrated journal what its ledger has taken over.

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
