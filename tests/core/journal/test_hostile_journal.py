"""A journal of a stranger: what could compute for ever, or write, is refused in one sentence."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.errors import DamagedError
from fedtrack.journal.journal import Journal

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x, x, x, x, x FROM n"


@pytest.mark.threat("T4", "T12")
@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE batch", f"CREATE VIEW batch AS {ENDLESS}"],
        ["DROP TABLE meta", f"CREATE VIEW meta AS {ENDLESS}"],
        ["CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM batch; END"],
        ["CREATE VIRTUAL TABLE v USING fts5(x)"],
    ],
    ids=["batch", "meta", "trigger", "virtual"],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_with_more_than_tables_is_refused(statements: list[str], read_only: bool, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    with pytest.raises(DamagedError, match=r"journal\.db has '\w+', which is no table; fedtrack has not written"):
        Journal(path, read_only=read_only)
