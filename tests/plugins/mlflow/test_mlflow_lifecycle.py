"""The life of MLflowReceiver: restarts, closing, and changes of its store by others."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from fedtrack.errors import ConfigError, Transient
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Metric, Text
from fedtrack_mlflow import MLflowReceiver
from fedtrack_mlflow.settings import calm

Opened = Callable[..., MLflowReceiver]
NewBatch = Callable[..., Batch]

T0 = 1_700_000_001_000_000_000


@pytest.mark.parametrize(("status", "shown"), [("completed", "FINISHED"), ("failed", "FAILED"), ("aborted", "KILLED")])
def test_close_ends_every_run_also_those_of_before_a_restart(
    opened: Opened, new_batch: NewBatch, store: Any, status: str, shown: str
) -> None:
    opened().receive(new_batch([Metric(T0, "loss", 1.0, 1)], site="site-1"))
    receiver = opened()
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)], site="site-2"))
    receiver.close(status)
    receiver.close("completed")
    assert store.rows("SELECT DISTINCT status FROM runs") == [(shown,)]
    assert all(end for (end,) in store.rows("SELECT end_time FROM runs"))
    resumed = opened()
    assert store.rows("SELECT status FROM runs WHERE run_uuid = ?", store.run_id("server")) == [("RUNNING",)]
    resumed.close("completed")


def test_a_deleted_experiment_is_named_with_the_remedy(opened: Opened, store: Any, run_info: RunInfo) -> None:
    from mlflow import MlflowClient

    opened().close("completed")
    with calm():
        MlflowClient(f"sqlite:///{store.path}").delete_experiment("1")
    with pytest.raises(ConfigError, match=r"'hello' .* restore .*--experiment-id 1.*experiment_name"):
        opened()


def test_a_run_that_somebody_deletes_meanwhile_is_made_anew(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    from mlflow import MlflowClient

    receiver = opened()
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))
    with calm():
        MlflowClient(f"sqlite:///{store.path}").delete_run(store.run_id())
    batch = new_batch([Metric(T0, "loss", 2.0, 2), Text(T0, "a.txt", "x")], first=1)
    with pytest.raises(Transient, match="active"):
        receiver.receive(batch)
    receiver.receive(batch)
    active = store.rows("SELECT m.value FROM metrics m JOIN runs r USING (run_uuid) WHERE lifecycle_stage = 'active'")
    assert active == [(2.0,)]


def test_a_locked_store_is_transient(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    receiver = opened(tracking_uri=f"sqlite:///{store.path}?timeout=0.1")
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Transient, match="locked"):
            receiver.receive(new_batch([Metric(T0, "loss", 2.0, 2)], first=1))
        connection.rollback()
    receiver.receive(new_batch([Metric(T0, "loss", 2.0, 2)], first=1))
    assert len(store.metrics()) == 2


def test_a_workspace_that_is_wiped_between_two_runs_in_one_process_is_written_anew(
    opened: Opened, new_batch: NewBatch, store: Any
) -> None:
    for _ in range(2):
        receiver = opened()
        receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))
        assert len(store.metrics()) == 1
        receiver.close("completed")
        store.path.unlink()


def test_a_receiver_on_a_site_makes_no_parent(new_batch: NewBatch, store: Any, run_info: RunInfo) -> None:
    receiver = MLflowReceiver()
    receiver.open(dataclasses.replace(run_info, node="site-1"))
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))
    receiver.close("completed")
    assert store.rows("SELECT name, status FROM runs") == [("hello-site-1", "FINISHED")]
    assert "mlflow.parentRunId" not in store.texts("tags")


def test_environment_output_and_fluent_state_stay_as_they_were(
    opened: Opened, new_batch: NewBatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import mlflow
    from mlflow import environment_variables as variables

    before = dict(os.environ)
    retries = variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.default
    receiver = opened()
    receiver.receive(new_batch([Metric(T0, "loss", 0.5), Text(T0, "a.txt", "x")]))
    receiver.close("completed")
    assert dict(os.environ) == before
    assert variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.default == retries > 0
    assert mlflow.active_run() is None
    assert capfd.readouterr() == ("", "")


def test_close_before_open_and_after_a_failed_open(run_info: RunInfo) -> None:
    receiver = MLflowReceiver("http://127.0.0.1:9")
    receiver.close("failed")
    assert receiver.results() is None
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9"):
        receiver.open(run_info)
    receiver.close("failed")
    receiver.close("failed")


def test_a_store_is_called_as_often_as_it_answers_quickly_but_never_waited_for_longer(
    opened: Opened, new_batch: NewBatch
) -> None:
    receiver = opened(buffer_flush_time=3600)
    assert receiver.gather_seconds == 3600
    for step, site in enumerate(("site-1", "site-2")):
        receiver.receive(new_batch([Metric(T0, "loss", 1.0, step)], site=site))
    receiver.flush()
    assert 0 < receiver.gather_seconds < 3600
    receiver.flush()  # nothing was received since
    assert receiver.gather_seconds == 0
    at_most = opened(buffer_flush_time=0)
    at_most.receive(new_batch([Metric(T0, "loss", 1.0, 9)]))
    at_most.flush()
    assert at_most.gather_seconds == 0
