"""Ledger rescue: a new ledger with everything that can be read of a damaged one."""

from __future__ import annotations

from pathlib import Path

from fedtrack.delivery.ledger_schema import LEDGER, OWNER
from fedtrack.journal.carve import Row, carve
from fedtrack.journal.database import Database

#: By table: the kinds of its columns, as in ``rescue.py``, and whether it has rowids.
_TABLES = {
    "cursor": (False, (str, int, int, int, int)),
    "skipped": (False, (str, str, int)),
    "dead": (False, (str, str, str, int, int, str, bytes)),
    "dropped": (True, (type(None), str, str, str, int, int, str, int | None)),
    "damage": (True, (type(None), str, str, int, int, str, int)),
}


def rescue_ledger(path: Path, target: Path, journal: str) -> None:
    """Write a ledger at ``target`` with everything that can be read of the damaged one at ``path``.

    A receiver whose cursor is gone begins at the first event again.

    Args:
        path: The damaged ledger, which is only read.
        target: The new ledger, which must not exist.
        journal: The id of its journal.
    """
    database = Database(target, LEDGER)
    try:
        with database.transaction() as writer:
            for row in carve(path):
                table = _table_of(row)
                if table is not None:
                    values = row.values if row.id is None else (row.id, *row.values[1:])
                    marks = ",".join("?" * len(values))
                    # Of two versions of a cursor the later one.
                    newer = " ON CONFLICT DO UPDATE SET batch = excluded.batch, delivered = excluded.delivered, "
                    newer += "skipped = excluded.skipped, dead = excluded.dead WHERE excluded.batch > batch"
                    rest = newer if table == "cursor" else " ON CONFLICT DO NOTHING"
                    writer.execute(f"INSERT INTO {table} VALUES ({marks}){rest}", values)  # noqa: S608 - a constant
            writer.execute("INSERT INTO meta VALUES (?, ?)", (OWNER, journal))
    finally:
        database.close()


def owner_of(path: Path) -> str:
    """Return the id of a ledger's journal, also of a damaged ledger; "" if it is not known."""
    if not path.exists():
        return ""
    return next((str(row.values[1]) for row in carve(path) if row.id is None and row.values[:1] == (OWNER,)), "")


def _table_of(row: Row) -> str | None:
    for table, (rowids, kinds) in _TABLES.items():
        fits = (row.id is not None) == rowids and len(row.values) == len(kinds)
        if fits and all(isinstance(value, kind) for value, kind in zip(row.values, kinds, strict=True)):
            return table
    return None
