"""Export: each event of a run is one row, in each format with the same values, and a query sees nothing else."""

from __future__ import annotations

import base64
import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

import fedtrack
from fedtrack.connection.run_folder import RunFolder
from fedtrack.errors import ConfigError
from fedtrack.journal.journal import Journal
from fedtrack.runs.export import FORMATS, export, query
from fedtrack.runs.rows import COLUMNS, pruned, rows
from fedtrack.runs.stored_run import StoredRun
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.writer import Writer
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward

LONG = "ä" * 200_000


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    """A run with every kind of record."""
    with fedtrack.connect(tmp_path / "c", site="hospital-a", run="study-7") as site:
        writer = Writer()
        writer.record_param("lr", 0.1)
        writer.record_param("name", "007")
        writer.record_tag("team", 'a,b\n"c"')
        site.round(3)
        writer.record_metric("loss", 0.5, 1)
        writer.record_metric("loss", math.nan, 2)
        writer.record_metric("loss", -math.inf, 2**40)
        writer.record_text("note", LONG, 4)
        writer.record_text("empty", "")
        writer.record_image("picture", b"\x89PNG", 5)
        writer.record_histogram("weights", [0, 1, 2], [3, 4])
        writer.record_artifact("a/b.bin", b"\x00\x01")
        writer.record_metric("loss", object(), 6)
    folder = RunFolder(tmp_path / "c", "study-7")
    journal = Journal(folder.server / "journal.db")
    source = SpoolSource("hospital-a", folder.spool("hospital-a"), journal, BlobStore(folder.server / "blobs"))
    source.ended = True
    forward(source)
    journal.close()
    return StoredRun(folder.base)


def expected(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("site", "round", "kind", "key", "step", "text", "data"))


def test_every_kind_is_a_row(run: StoredRun) -> None:
    found = list(rows(run))
    assert all(list(row) == list(COLUMNS) for row in found)
    assert [expected(row)[1:] for row in found] == [
        (None, "param", "lr", None, "0.1", None),
        (None, "param", "name", None, "007", None),
        (None, "tag", "team", None, 'a,b\n"c"', None),
        (3, "metric", "loss", 1, None, None),
        (3, "metric", "loss", 2, None, None),
        (3, "metric", "loss", 2**40, None, None),
        (3, "text", "note", 4, LONG, None),
        (3, "text", "empty", None, "", None),
        (3, "image", "picture", 5, "png", b"\x89PNG"),
        (3, "histogram", "weights", None, '{"edges":[0.0,1.0,2.0],"counts":[3.0,4.0]}', None),
        (3, "artifact", "a/b.bin", None, None, b"\x00\x01"),
        (3, "rejected", *expected(found[-1])[3:]),
    ]
    assert [row["value"] for row in found[:2]] == [0.1, None]
    values = [row["value"] for row in found[3:6]]
    assert values[0] == 0.5
    assert math.isnan(values[1])
    assert values[2] == -math.inf
    assert pruned(run) == 0


def test_csv_and_json_lines_hold_the_same(run: StoredRun, tmp_path: Path) -> None:
    found = list(rows(run))
    assert export(run, tmp_path / "e.csv", "csv") == len(found)
    csv.field_size_limit(1_000_000)
    with (tmp_path / "e.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["text"] for line in lines] == ["" if row["text"] is None else row["text"] for row in found]
    assert export(run, tmp_path / "e.jsonl", "jsonl") == len(found)
    text = (tmp_path / "e.jsonl").read_text(encoding="utf-8")
    parsed = [json.loads(line, parse_constant=pytest.fail) for line in text.split("\n")[:-1]]
    assert [row["value"] for row in parsed[3:6]] == [0.5, "nan", "-inf"]
    assert base64.b64decode(parsed[8]["data"]) == b"\x89PNG"


def test_parquet_holds_the_same(run: StoredRun, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    parquet = pytest.importorskip("pyarrow.parquet")
    found = list(rows(run))
    export(run, tmp_path / "e.parquet", "parquet")
    read = parquet.read_table(tmp_path / "e.parquet").to_pylist()
    assert [expected(row) for row in read] == [expected(row) for row in found]


def test_a_query_answers(run: StoredRun) -> None:
    pytest.importorskip("duckdb")
    answer = query(run, "SELECT kind, count(*) AS n, max(step) FROM events GROUP BY kind ORDER BY kind")
    assert answer.columns == ["kind", "n", "max(step)"]
    assert ("metric", 3, 2**40) in answer.rows
    assert query(run, "SELECT text FROM events WHERE key IN ('empty', 'loss') ORDER BY seq").rows[0] == (None,)
    (value,) = query(run, "SELECT value FROM events WHERE step = 2").rows[0]
    assert math.isnan(value)
    assert query(run, "SELECT data FROM events WHERE kind = 'image'").rows == [(b"\x89PNG",)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY events TO '/tmp/fedtrack-stolen.csv'",
        "ATTACH '/tmp/fedtrack-stolen.db'",
        "SET enable_external_access = true",
        "SELEC 1",
        "",
    ],
)
def test_a_query_sees_nothing_else(run: StoredRun, sql: str) -> None:
    pytest.importorskip("duckdb")
    with pytest.raises(ConfigError, match="query is"):
        query(run, sql)


@pytest.mark.parametrize("format", [*FORMATS, "xlsx"])
def test_a_file_that_cannot_be_written_is_named(run: StoredRun, tmp_path: Path, format: str) -> None:
    target = tmp_path / "no" / "where"
    with pytest.raises(ConfigError, match=r"where|xlsx.*valid are csv, jsonl, parquet"):
        export(run, target, format)
    assert not target.parent.exists()
