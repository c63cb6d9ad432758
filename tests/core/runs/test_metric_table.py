"""MetricTable: each value is one row with the same content in every library, read when it is asked for."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas
import pytest

import fedtrack.runs
from fedtrack.errors import PluginError
from fedtrack.runs import metric_table
from fedtrack.runs.metric_table import COLUMNS, MetricTable
from fedtrack.tracking.records import Metric, Param
from support.journaled import START_NS, JournaledRun

#: (site, key, step, round, nanoseconds since START_NS, value).
ROWS: list[tuple[str, str, int | None, int | None, int, float]] = [
    ("a", "loss", 0, 0, 1, 2.5),
    ("a", "loss", 2**40, 0, 2, math.inf),
    ("b", "acc", None, None, 3, 0.5),
    ("server", "loss", 1, 1, 4, -1.0),
]


@pytest.fixture
def table(tmp_path: Path) -> MetricTable:
    made = JournaledRun(tmp_path)
    for site, key, step, round_, after, value in ROWS:
        made.log(site, [Param(START_NS, "lr", 0.1), Metric(START_NS + after, key, value, step)], round_)
    return fedtrack.runs.open(tmp_path).metrics()


def plain(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in COLUMNS) for row in rows]


def expected() -> list[tuple[Any, ...]]:
    return [(*row[:4], START_NS + row[4], row[5]) for row in ROWS]


def test_a_loop_yields_each_value_once(table: MetricTable) -> None:
    found = list(table)
    assert [(row.site, row.key, row.step, row.round, row.value) for row in found] == [(*r[:4], r[5]) for r in ROWS]
    assert found[0].time == datetime.fromtimestamp(START_NS / 10**9, UTC)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_pandas(table: MetricTable, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(metric_table, "_BATCH", batch)
    frame = table.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert [str(frame.dtypes[name]) for name in ("step", "round", "time", "value")] == [
        "Int64",
        "Int64",
        "datetime64[ns, UTC]",
        "float64",
    ]
    whole = frame.astype({"step": object, "round": object, "time": "int64"}).replace({pandas.NA: None})
    assert plain(whole.to_dict("records")) == expected()


@pytest.mark.parametrize("batch", [1, 100])
def test_arrow(table: MetricTable, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(metric_table, "_BATCH", batch)
    found = table.to_arrow()
    assert {field.name: str(field.type) for field in found.schema} == COLUMNS
    assert plain(found.set_column(4, "time", found["time"].cast("int64")).to_pylist()) == expected()
    import pyarrow

    assert pyarrow.table(table).equals(found)  # by the stream that other libraries ask for


def test_polars(table: MetricTable) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = table.to_polars()
    assert frame.schema["time"] == polars.Datetime("ns", "UTC")
    assert plain(frame.with_columns(polars.col("time").cast(polars.Int64)).to_dicts()) == expected()


def test_a_run_without_metrics_has_the_columns(tmp_path: Path) -> None:
    JournaledRun(tmp_path).log("a", [Param(START_NS, "lr", 0.1)])
    table = fedtrack.runs.open(tmp_path).metrics()
    assert list(table) == []
    assert list(table.to_pandas().columns) == list(COLUMNS)
    assert table.to_arrow().num_rows == 0


def test_sites_and_keys_choose_rows(tmp_path: Path, table: MetricTable) -> None:
    run = fedtrack.runs.open(tmp_path)
    assert [row.site for row in run.metrics("loss")] == ["a", "a", "server"]
    assert [row.key for row in run.metrics(["loss", "acc"], sites="b")] == ["acc"]
    assert list(run.metrics("gone")) == []


def test_what_a_site_and_the_server_hold_is_one_row(tmp_path: Path) -> None:
    JournaledRun(tmp_path).log_values("a", "loss", [1.0, 2.0])
    here = JournaledRun(tmp_path / "other")
    here.log_values("a", "loss", [1.0, 2.0, 3.0])
    here.journal.close()
    own = tmp_path / "a" / here.folder.name
    own.parent.mkdir()
    here.folder.rename(own)
    assert [row.value for row in fedtrack.runs.open(tmp_path).metrics()] == [1.0, 2.0, 3.0]


def test_a_library_that_is_missing_is_named(table: MetricTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(PluginError, match=r"pandas, which is not installed; install it with: .*install.* pandas"):
        table.to_pandas()
