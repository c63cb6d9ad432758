"""MetricTable: the metrics of a run, as pandas, polars or Arrow; read from the journal when the table is used.

Each use reads the journal again, in batches, so that a table of a run that goes on shows what has arrived by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from fedtrack.errors import PluginError
from fedtrack.plugins.remedy import install
from fedtrack.runs.rows import rows
from fedtrack.runs.stored_run import StoredRun
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import Metric

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

#: The columns, with Arrow's type of each. New ones are only added at the end.
COLUMNS = {
    "site": "string",
    "key": "string",
    "step": "int64",
    "round": "int64",
    "time": "timestamp[ns, tz=UTC]",
    "value": "double",
}

#: Rows that are in memory at a time.
_BATCH = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MetricRow(NamedTuple):
    """One value of a metric.

    Attributes:
        site: The site that logged it; ``server`` for the server.
        key: The metric's name.
        step: Its step; None if it was logged without one.
        round: The round in which it was logged; None if that is not known.
        time: When it was logged, by the clock of the site; a frame has the nanoseconds, too.
        value: The value, which may be NaN or infinite.
    """

    site: str
    key: str
    step: int | None
    round: int | None
    time: datetime
    value: float


class MetricTable:
    """The metrics of a run, in the order of arrival; an event that two journals hold is one row.

    A loop over it yields a ``MetricRow`` for each value. Libraries that read Arrow's C stream take the table itself.

    Args:
        run: The run; nothing of it is changed.
        keys: The metrics that are wanted; empty for all.
        sites: The sites that are wanted; empty for all.
    """

    def __init__(self, run: StoredRun, keys: frozenset[str] = frozenset(), sites: frozenset[str] = frozenset()) -> None:
        self._run = run
        self._keys = keys
        self._sites = sites

    def __iter__(self) -> Iterator[MetricRow]:
        for site, key, step, round_, time_ns, value in self._values():
            yield MetricRow(site, key, step, round_, _EPOCH + timedelta(microseconds=time_ns // 1000), value)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a pandas frame; ``step`` and ``round`` are ``Int64``, ``time`` is in UTC.

        Raises:
            PluginError: pandas is not installed.
        """
        pandas = _library("pandas")
        types = {"site": "str", "key": "str", "step": "Int64", "round": "Int64", "value": "float64"}
        empty: list[list[Any]] = [[] for _ in COLUMNS]
        frames = [self._pandas_frame(pandas, columns, types) for columns in self._columns()]
        frames = frames or [self._pandas_frame(pandas, empty, types)]
        return pandas.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]

    def to_polars(self) -> polars.DataFrame:
        """Return the table as a polars frame.

        Raises:
            PluginError: polars is not installed.
        """
        polars = _library("polars")
        text, number, time = polars.String, polars.Int64, polars.Datetime("ns", "UTC")
        schema = dict(zip(COLUMNS, (text, text, number, number, time, polars.Float64), strict=True))
        frames = [
            polars.DataFrame(dict(zip(COLUMNS, columns, strict=True)), schema=schema | {"time": number})
            for columns in self._columns()
        ]
        if not frames:
            return polars.DataFrame(schema=schema)
        return polars.concat(frames).with_columns(polars.col("time").cast(time))

    def to_arrow(self) -> pyarrow.Table:
        """Return the table as one of Arrow.

        Raises:
            PluginError: pyarrow is not installed.
        """
        return self.to_batches().read_all()

    def to_batches(self) -> pyarrow.RecordBatchReader:
        """Return a reader of Arrow, which has 65,536 rows in memory at a time.

        Raises:
            PluginError: pyarrow is not installed.
        """
        arrow = _library("pyarrow")
        types = (arrow.string(), arrow.string(), arrow.int64(), arrow.int64(), arrow.timestamp("ns", "UTC"))
        schema = arrow.schema(list(zip(COLUMNS, (*types, arrow.float64()), strict=True)))
        batches = (
            arrow.record_batch(
                [arrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
            )
            for columns in self._columns()
        )
        return arrow.RecordBatchReader.from_batches(schema, batches)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the table as Arrow's C stream, for libraries that ask for it."""
        return self.to_batches().__arrow_c_stream__(requested_schema)

    def _pandas_frame(self, pandas: Any, columns: list[list[Any]], types: dict[str, str]) -> Any:
        named = dict(zip(COLUMNS, columns, strict=True))
        times = pandas.Series(named.pop("time"), dtype="int64")
        frame = {name: pandas.array(values, dtype=types[name]) for name, values in named.items()}
        return pandas.DataFrame(frame | {"time": pandas.to_datetime(times, unit="ns", utc=True)})[list(COLUMNS)]

    def _columns(self) -> Iterator[list[list[Any]]]:
        """Yield the rows as lists of columns, so many at a time that they fit into the memory."""
        found = self._values()
        while part := list(islice(found, _BATCH)):
            yield [list(column) for column in zip(*part, strict=True)]

    def _values(self) -> Iterator[tuple[str, str, int | None, int | None, int, float]]:
        arrived: dict[tuple[str, str], int] = {}
        for row in rows(self._run, (Metric,)):
            site, stream = row["site"], row["stream"]
            if row["node"] == SERVER:
                arrived[site, stream] = row["seq"]
            elif row["seq"] <= arrived.get((site, stream), 0):
                continue  # a site with receivers of its own has a journal, too
            if (not self._keys or row["key"] in self._keys) and (not self._sites or site in self._sites):
                yield site, row["key"], row["step"], row["round"], row["time_ns"], row["value"]


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise PluginError(
            f"This table needs {name}, which is not installed; install it with: {install(name)}"
        ) from None
