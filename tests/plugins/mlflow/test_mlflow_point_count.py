"""Points are counted with few reads, and the count is that of the histories that MLflow shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Metric, Record
from fedtrack_mlflow import MLflowReceiver, point_count
from fedtrack_mlflow.settings import calm

Opened = Callable[..., MLflowReceiver]
NewBatch = Callable[..., Batch]

T0 = 1_700_000_001_000_000_000


def records() -> list[Record]:
    found: list[Record] = [Metric(T0 + i, f"layer-{i % 300}/norm", float(i), i) for i in range(1500)]
    return [*found, Metric(T0, "nan", math.nan, 1), Metric(T0, "inf", math.inf, 1), Metric(T0, "é loss@1", 1.0)]


@pytest.mark.parametrize("kind", ["database", "files"])
def test_a_count_reads_no_history_and_is_right(
    opened: Opened, new_batch: NewBatch, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {} if kind == "database" else {"tracking_uri": str(tmp_path / "mlruns")}
    receiver = opened(**where)
    receiver.receive(new_batch(records()))
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)], site="site-2"))
    again = opened(**where)
    found = by_name(again, ["site-1", "site-2"])
    assert found == {"site-1": 1503, "site-2": 1}
    monkeypatch.setattr("mlflow.MlflowClient.get_metric_history", None)
    assert again.count(["site-1", "site-2", "site-3"]) == found | {"site-3": 0}


def by_name(receiver: Any, sites: list[str]) -> dict[str, int]:
    session = receiver._session
    found = {}
    with calm():
        for site in sites:
            run = session.client.get_run(session.runs.id_of(site))
            found[site] = sum(
                len(session.client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics
            )
    return found


def test_thousands_of_runs_need_a_few_queries(
    opened: Opened, new_batch: NewBatch, run_info: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import event

    monkeypatch.setattr(point_count, "_RUNS", 5)
    receiver = opened()
    sites = [f"s{i}" for i in range(12)]
    for site in sites:
        receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)], site=site))
    engine = point_count._engine(receiver._session.address)  # type: ignore[union-attr]
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    assert receiver.count(sites) == dict.fromkeys(sites, 1)
    assert len([query for query in asked if "count(*)" in query]) == 3
    assert len(asked) == 3


def test_another_table_of_metrics_is_counted_by_name(
    opened: Opened, new_batch: NewBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = opened()
    receiver.receive(new_batch([Metric(T0 + i, f"m{i}", 1.0, i) for i in range(20)]))
    from sqlalchemy import text as real

    monkeypatch.setattr("sqlalchemy.text", lambda query: real(query.replace("FROM metrics", "FROM other_metrics")))
    assert receiver.count(["site-1"]) == {"site-1": 20}
