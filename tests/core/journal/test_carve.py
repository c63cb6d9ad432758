"""Carving finds each row of a SQLite file whose own pages are intact, whatever became of the others."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from fedtrack.journal.carve import carve

VALUES = (
    None,
    0,
    1,
    -1,
    127,
    -32768,
    2**23,
    -(2**31),
    2**47 - 1,
    -(2**63),
    1.5,
    "",
    "ä",
    "x" * 70,
    b"",
    b"\0\xff" * 40,
)


def write(path: Path, rows: dict[int, tuple[object, ...]], *, page_size: int = 4096, wal: bool = False) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={page_size}")
    if wal:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c)")
    connection.execute("CREATE TABLE keyed (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
    connection.execute("BEGIN")
    for id_, row in rows.items():
        connection.execute("INSERT INTO t VALUES (?,?,?,?)", (id_, *row))
        connection.execute("INSERT INTO keyed VALUES (?,?)", (f"key-{id_}", row[0]))
    connection.execute("COMMIT")
    if wal:  # a copy without a checkpoint, as SIGKILL leaves the files
        for name in (path.name, f"{path.name}-wal"):
            path.with_name(name).with_suffix(".kept").write_bytes(path.with_name(name).read_bytes())
            path.with_name(name).with_suffix(".kept").rename(path.with_name(f"kept-{name}"))
    connection.close()


def make_rows(count: int, seed: int = 1) -> dict[int, tuple[object, ...]]:
    source = random.Random(seed)
    rows: dict[int, tuple[object, ...]] = {}
    for id_ in range(1, count + 1):
        blob = source.randbytes(source.choice((0, 10, 3000, 5000, 30_000)))
        rows[id_ * 3] = (source.choice(VALUES), blob, source.choice(VALUES))
    return rows


def found(path: Path) -> tuple[dict[int, tuple[object, ...]], dict[str, object]]:
    table, keyed = {}, {}
    for row in carve(path):
        if row.id is not None and len(row.values) == 4:
            table[row.id] = row.values[1:]
        elif row.id is None and len(row.values) == 2 and str(row.values[0]).startswith("key-"):
            keyed[str(row.values[0])] = row.values[1]
    return table, keyed


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_every_row_of_an_intact_file_is_found(tmp_path: Path, page_size: int) -> None:
    rows = make_rows(300)
    write(tmp_path / "a.db", rows, page_size=page_size)
    table, keyed = found(tmp_path / "a.db")
    assert table == rows
    assert keyed == {f"key-{id_}": row[0] for id_, row in rows.items()}


def test_rows_that_are_only_in_the_write_ahead_log_are_found(tmp_path: Path) -> None:
    rows = make_rows(100)
    write(tmp_path / "a.db", rows, wal=True)
    kept = tmp_path / "kept-a.db"
    assert kept.stat().st_size < (tmp_path / "kept-a.db-wal").stat().st_size
    assert found(kept)[0] == rows
    log = tmp_path / "kept-a.db-wal"
    log.write_bytes(log.read_bytes()[:-1])  # the commit is incomplete
    assert found(kept)[0] == {}


@pytest.mark.parametrize("seed", range(5))
def test_each_damaged_page_costs_only_rows_that_touch_it(tmp_path: Path, seed: int) -> None:
    rows = make_rows(300)
    write(tmp_path / "a.db", rows)
    data = bytearray((tmp_path / "a.db").read_bytes())
    source = random.Random(seed)
    pages = len(data) // 4096
    hit = [0, *source.sample(range(1, pages), 5)]  # the first page, too
    for page in hit:
        data[page * 4096 : page * 4096 + 512] = bytes(512)
    (tmp_path / "a.db").write_bytes(data)
    table, _ = found(tmp_path / "a.db")
    same = [id_ for id_, row in table.items() if rows.get(id_) == row]
    assert len(same) >= len(rows) - 5 * 40
    assert len(same) > 100


def test_swapped_pages_hide_nothing(tmp_path: Path) -> None:
    rows = {id_: (id_, b"", None) for id_ in range(1, 2000)}
    write(tmp_path / "a.db", rows)
    data = bytearray((tmp_path / "a.db").read_bytes())
    leaves = [at for at in range(4096, len(data), 4096) if data[at] == 0x0D]
    first, last = leaves[0], leaves[-1]
    data[first : first + 4096], data[last : last + 4096] = data[last : last + 4096], data[first : first + 4096]
    (tmp_path / "a.db").write_bytes(data)
    assert found(tmp_path / "a.db")[0] == rows


@pytest.mark.parametrize("seed", range(30))
def test_no_bytes_stop_it(tmp_path: Path, seed: int) -> None:
    write(tmp_path / "a.db", make_rows(50))
    data = bytearray((tmp_path / "a.db").read_bytes())
    source = random.Random(seed)
    for _ in range(source.choice((1, 100, 5000))):
        data[source.randrange(len(data))] = source.randrange(256)
    (tmp_path / "a.db").write_bytes(data[: source.randrange(len(data))])
    assert len(list(carve(tmp_path / "a.db"))) < 1000
