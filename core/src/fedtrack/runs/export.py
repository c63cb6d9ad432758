"""Export: writes a run's events into a file of a common format, and asks questions about them in SQL."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fedtrack.errors import ConfigError, PluginError
from fedtrack.files import written_beside
from fedtrack.plugins.remedy import install
from fedtrack.runs.rows import COLUMNS, printable, rows
from fedtrack.runs.stored_run import StoredRun

#: Rows in memory at once.
_CHUNK = 50_000

_DUCKDB_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "double": "VARCHAR", "binary": "VARCHAR"}
_LOAD = (
    "CREATE TABLE events AS SELECT * REPLACE (CAST(value AS DOUBLE) AS value, from_base64(data) AS data) "
    "FROM read_json($file, format = 'newline_delimited', maximum_object_size = 1073741824, columns = {"
    + ", ".join(f"{name}: '{_DUCKDB_TYPES[kind]}'" for name, kind in COLUMNS.items())
    + "})"
)


def export(run: StoredRun, target: Path, format: str) -> int:
    """Write a run's events into a file, whole or not at all, and return their number.

    Args:
        run: The run; nothing of it is changed.
        target: The file, which is replaced if it exists.
        format: ``csv``, ``jsonl`` or ``parquet``. CSV and JSON lines have bytes as base64. In JSON lines, a value that
            is not finite is a string: ``"nan"``, ``"inf"`` or ``"-inf"``.

    Raises:
        ConfigError: The format is not known, or the file cannot be written.
        PluginError: pyarrow is not installed, which Parquet needs.
    """
    write = _WRITERS.get(format)
    if write is None:
        raise ConfigError(f"The format {format!r} is not known; valid are {', '.join(sorted(_WRITERS))}.")
    try:
        with written_beside(target) as temporary:
            return write(rows(run), temporary)
    except OSError as error:
        raise ConfigError(f"{str(target)!r} cannot be written: {error.strerror}; choose another file.") from None


class Answer(NamedTuple):
    """The answer to a query.

    Attributes:
        columns: The names of the columns.
        rows: The rows.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query(run: StoredRun, sql: str) -> Answer:
    """Return the answer of DuckDB to a question about the table ``events``, whose columns are those of ``COLUMNS``.

    The query sees the run's events and nothing else: neither files nor the network.

    Args:
        run: The run.
        sql: One statement.

    Raises:
        ConfigError: DuckDB does not take the statement.
        PluginError: duckdb is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise PluginError(f"A query needs duckdb; install it with: {install('fedtrack[query]')}") from None
    with duckdb.connect(":memory:") as connection, TemporaryDirectory() as folder:
        # DuckDB reads a file of JSON a hundred times faster than it takes rows one by one.
        file = Path(folder) / "events.jsonl"
        _to_jsonl(rows(run), file)
        connection.execute(_LOAD, {"file": str(file)})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            found = connection.execute(sql)
            if found is None:
                raise ConfigError("The query is empty; write a statement about the table events.")
            names = [column[0] for column in found.description or ()]
            return Answer(names, found.fetchall())
        except duckdb.Error as error:
            raise ConfigError(f"The query is not valid: {str(error).splitlines()[0]}") from None


def _to_csv(found: Iterator[dict[str, Any]], target: Path) -> int:
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        return _written(found, lambda row: writer.writerow(printable(row)))


def _to_jsonl(found: Iterator[dict[str, Any]], target: Path) -> int:
    with target.open("w", encoding="utf-8") as file:
        return _written(found, lambda row: file.write(json.dumps(_json(printable(row)), ensure_ascii=False) + "\n"))


def _to_parquet(found: Iterator[dict[str, Any]], target: Path) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise PluginError(f"Parquet needs pyarrow; install it with: {install('fedtrack[parquet]')}") from None
    kinds = {
        "string": pyarrow.string(),
        "int64": pyarrow.int64(),
        "double": pyarrow.float64(),
        "binary": pyarrow.binary(),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    count = 0
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for chunk in _chunks(found):
            writer.write_table(pyarrow.Table.from_pylist(chunk, schema))
            count += len(chunk)
    return count


_WRITERS: dict[str, Callable[[Iterator[dict[str, Any]], Path], int]] = {
    "csv": _to_csv,
    "jsonl": _to_jsonl,
    "parquet": _to_parquet,
}

#: The formats of ``export``.
FORMATS: Sequence[str] = tuple(_WRITERS)


def _written(found: Iterable[dict[str, Any]], write: Callable[[dict[str, Any]], object]) -> int:
    count = 0
    for row in found:
        write(row)
        count += 1
    return count


def _chunks(found: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(found, _CHUNK)):
        yield chunk


def _json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose value is valid JSON."""
    value = row["value"]
    return row if value is None or math.isfinite(value) else row | {"value": str(value)}
