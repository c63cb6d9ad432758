"""Export: writes a run's events into a file of a common format, and asks questions about them in SQL."""

from __future__ import annotations

import csv
import errno
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from fedtrack.errors import ConfigError, PluginError
from fedtrack.files import written_beside
from fedtrack.plugins.remedy import install
from fedtrack.runs.rows import COLUMNS, printable, rows
from fedtrack.runs.stored_run import StoredRun

if TYPE_CHECKING:
    import duckdb

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
        PluginError: duckdb is not installed, which writes Parquet.
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
    with _database(rows(run)) as connection:
        import duckdb

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
    with _database(found) as connection:
        import duckdb

        quoted = str(target).replace("'", "''")
        try:
            connection.execute(f"COPY events TO '{quoted}' (FORMAT parquet)")
        except duckdb.IOException as error:
            raise OSError(errno.EIO, str(error).splitlines()[0]) from None
        return int(connection.execute("SELECT count(*) FROM events").fetchall()[0][0])


@contextmanager
def _database(found: Iterator[dict[str, Any]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a database in memory with the rows as its table ``events``.

    Raises:
        PluginError: duckdb is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise PluginError(f"Parquet and queries need duckdb; install it with: {install('fedtrack[query]')}") from None
    with duckdb.connect(":memory:") as connection:
        with TemporaryDirectory() as folder:
            # DuckDB reads a file of JSON a hundred times faster than it takes rows one by one.
            file = Path(folder) / "events.jsonl"
            _to_jsonl(found, file)
            connection.execute(_LOAD, {"file": str(file)})
        yield connection


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


def _json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose value is valid JSON."""
    value = row["value"]
    return row if value is None or math.isfinite(value) else row | {"value": str(value)}
