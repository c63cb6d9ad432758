"""The view file may be deleted, damaged or of another version; it has one writer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fedtrack_ui.rollup.view_file import ViewFile


def test_a_file_is_private_and_has_one_writer(tmp_path: Path) -> None:
    first = ViewFile(tmp_path / "view.db")
    assert first.path.stat().st_mode & 0o777 == 0o600
    second = ViewFile(tmp_path / "view.db")
    assert (first.is_writer, second.is_writer) == (True, False)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        second.database.execute("DELETE FROM series")
    first.close()
    third = ViewFile(tmp_path / "view.db")
    assert third.is_writer
    second.close()
    third.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_file_is_replaced_by_its_writer(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "view.db"
    path.write_bytes(content)
    view = ViewFile(path)
    assert view.database.execute("SELECT count(*) FROM series").fetchone() == (0,)
    view.close()


def test_a_file_of_another_version_is_replaced_by_its_writer_and_refused_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "view.db"
    other = sqlite3.connect(path)
    other.executescript("CREATE TABLE series (id); PRAGMA user_version = 99")
    other.close()
    with pytest.raises(sqlite3.DatabaseError, match="another version"):
        ViewFile(path, write=False)
    view = ViewFile(path)
    assert view.database.execute("SELECT count(*) FROM bucket").fetchone() == (0,)
    view.close()
