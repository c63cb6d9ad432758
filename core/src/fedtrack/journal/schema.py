"""Schema of the journal: the tables of format 2, and the migration of those of format 1; see docs/formats.md."""

from __future__ import annotations

import sqlite3

from fedtrack.journal.database import Schema

FORMAT = 2

TABLES = {
    "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # A journal that replaces another one has other batches under the same ids.
    "id": "INSERT INTO meta VALUES ('id', lower(hex(randomblob(16))))",
    "batch": """
        CREATE TABLE batch (
            id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, stream TEXT NOT NULL,
            first INTEGER NOT NULL, last INTEGER NOT NULL, n INTEGER NOT NULL, round INTEGER,
            body BLOB NOT NULL, crc INTEGER NOT NULL, recv_ns INTEGER NOT NULL)""",
    "stream": """
        CREATE TABLE stream (
            site TEXT NOT NULL, stream TEXT NOT NULL, last INTEGER NOT NULL DEFAULT 0, n INTEGER NOT NULL DEFAULT 0,
            round INTEGER, final INTEGER, dropped INTEGER NOT NULL DEFAULT 0, withheld INTEGER NOT NULL DEFAULT 0,
            rejected INTEGER NOT NULL DEFAULT 0, counted INTEGER, chain BLOB,
            PRIMARY KEY (site, stream)) WITHOUT ROWID""",
    "gap": """
        CREATE TABLE gap (
            id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, stream TEXT NOT NULL, kind TEXT NOT NULL,
            count INTEGER, first INTEGER, last INTEGER, bytes INTEGER NOT NULL, reason TEXT NOT NULL,
            recv_ns INTEGER NOT NULL)""",
    "gap_once": """
        CREATE UNIQUE INDEX gap_once ON gap (
            site, stream, kind, ifnull(first, -1), ifnull(last, -1), bytes, reason)""",
    "goodbye": """
        CREATE TABLE goodbye (
            site TEXT PRIMARY KEY, said_ns INTEGER, logged INTEGER, dropped INTEGER NOT NULL, withheld INTEGER NOT NULL,
            rejected INTEGER NOT NULL, error TEXT NOT NULL, chain BLOB) WITHOUT ROWID""",
    "pruned": """
        CREATE TABLE pruned (
            id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, stream TEXT NOT NULL, round INTEGER,
            first INTEGER NOT NULL, last INTEGER NOT NULL, n INTEGER NOT NULL)""",
}

#: The tables of format 1, shown like those of this format. In format 1 a goodbye was JSON in ``meta``.
_OF_FORMAT_1 = {
    "batch": "SELECT id, site, stream, first, last, n, NULL AS round, body, crc, recv_ns FROM main.batch",
    "stream": """
        SELECT site, stream, last, n, NULL AS round,
            (SELECT said.value FROM main.meta, json_each(main.meta.value, '$.final') AS said
             WHERE main.meta.key = 'bye/' || hw.site AND said.key = hw.stream) AS final,
            0 AS dropped, 0 AS withheld, 0 AS rejected, NULL AS counted, NULL AS chain
        FROM main.hw
        UNION ALL
        SELECT substr(meta.key, 5), said.key, 0, 0, NULL, said.value, 0, 0, 0, NULL, NULL
        FROM main.meta, json_each(main.meta.value, '$.final') AS said
        WHERE meta.key LIKE 'bye/%' AND NOT EXISTS (
            SELECT 1 FROM main.hw WHERE hw.site = substr(meta.key, 5) AND hw.stream = said.key)""",
    "gap": """
        SELECT id, site, stream,
            CASE
                WHEN reason LIKE 'batch % of the journal was changed after it was written%' THEN 'changed'
                WHEN reason LIKE 'the journal of this run was removed%' THEN 'journal'
                WHEN reason LIKE 'records % to % of a stream are in no spool%' THEN 'missing'
                WHEN reason LIKE '% events that the server once had' THEN 'missing'
                WHEN bytes > 0 THEN 'damaged'
                ELSE 'refused' END AS kind,
            CASE WHEN first = last THEN 1 END AS count,
            first, last, bytes, reason, recv_ns
        FROM main.gap""",
    "goodbye": """
        SELECT substr(key, 5) AS site, NULL AS said_ns, json_extract(value, '$.logged') AS logged,
            coalesce(json_extract(value, '$.dropped'), 0) AS dropped, 0 AS withheld, 0 AS rejected,
            coalesce(json_extract(value, '$.error'), '') AS error, NULL AS chain
        FROM main.meta WHERE key LIKE 'bye/%'""",
    "pruned": """
        SELECT NULL AS id, substr(key, 8) AS site, '' AS stream, NULL AS round, 0 AS first, 0 AS last,
            CAST(value AS INTEGER) AS n
        FROM main.meta WHERE key LIKE 'pruned:%'""",
}


def _from_format_1(writer: sqlite3.Connection) -> None:
    """Convert format 1 to format 2; the tables ``cursor`` and ``dead`` stay until ``delivery.db`` has their content."""
    # A new column changes no row. Every other table is small and written again from its view.
    writer.execute("ALTER TABLE batch ADD COLUMN round INTEGER")
    writer.execute("ALTER TABLE gap RENAME TO gap_1")
    for name, statement in TABLES.items():
        if name not in ("meta", "batch"):
            writer.execute(statement)
    for table in ("stream", "gap", "goodbye", "pruned"):
        query = _OF_FORMAT_1[table].replace("FROM main.gap", "FROM main.gap_1")
        writer.execute(f"INSERT INTO {table} {query}")
    writer.execute("DROP TABLE hw")
    writer.execute("DROP TABLE gap_1")
    writer.execute("DELETE FROM meta WHERE key LIKE 'bye/%' OR key LIKE 'pruned:%' OR key = 'said_bye'")


JOURNAL = Schema("journal", FORMAT, TABLES, {1: _OF_FORMAT_1}, {1: _from_format_1})
