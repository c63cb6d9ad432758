"""Schema of the ledger: the tables of ``delivery.db``; see docs/formats.md."""

from __future__ import annotations

from fedtrack.journal.database import Schema

#: Name of the file, beside the journal.
LEDGER_FILE = "delivery.db"

#: The key of the journal's id in ``meta``.
OWNER = "journal"

LEDGER = Schema(
    "ledger of deliveries",
    1,
    {
        "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "cursor": """
            CREATE TABLE cursor (
                receiver TEXT PRIMARY KEY, batch INTEGER NOT NULL, delivered INTEGER NOT NULL,
                skipped INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID""",
        "skipped": """
            CREATE TABLE skipped (
                receiver TEXT NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL,
                PRIMARY KEY (receiver, kind)) WITHOUT ROWID""",
        "dead": """
            CREATE TABLE dead (
                receiver TEXT NOT NULL, site TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL,
                batch INTEGER NOT NULL, error TEXT NOT NULL, payload BLOB NOT NULL,
                PRIMARY KEY (receiver, site, stream, seq)) WITHOUT ROWID""",
        "dropped": """
            CREATE TABLE dropped (
                id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, site TEXT NOT NULL,
                stream TEXT NOT NULL, seq INTEGER NOT NULL, batch INTEGER NOT NULL, error TEXT NOT NULL,
                dropped_ns INTEGER)""",
        "damage": """
            CREATE TABLE damage (
                batch INTEGER PRIMARY KEY, site TEXT NOT NULL, stream TEXT NOT NULL, count INTEGER NOT NULL,
                bytes INTEGER NOT NULL, reason TEXT NOT NULL, found_ns INTEGER NOT NULL)""",
    },
)
