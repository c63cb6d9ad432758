"""Runs, batches, stores and a real MLflow server for the tests of the MLflow plugin."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pytest

from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Record
from fedtrack_mlflow import MLflowReceiver
from support.mlflow_server import MLflowServer

START_NS = 1_700_000_000_123_456_789


class NewBatch(Protocol):
    def __call__(
        self, records: Sequence[Record], site: str = "site-1", stream: str = "a" * 32, first: int = 0
    ) -> Batch: ...


@pytest.fixture(autouse=True, scope="session")
def _shared_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the template in the test session's folder: migrating a fresh store takes seconds."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


@pytest.fixture
def run_info(tmp_path: Path) -> RunInfo:
    folder = tmp_path / "server" / "simulate_job"
    folder.mkdir(parents=True)
    return RunInfo(
        run_id=f"run-{abs(hash(str(tmp_path))):x}",
        job_name="hello",
        folder=folder,
        node="server",
        sites=("site-1", "site-2"),
        started_ns=START_NS,
        blobs=BlobStore(tmp_path / "blobs"),
    )


@pytest.fixture
def new_batch() -> NewBatch:
    def build(records: Sequence[Record], site: str = "site-1", stream: str = "a" * 32, first: int = 0) -> Batch:
        return Batch(site, stream, range(first, first + len(records)), records)

    return build


@pytest.fixture
def opened(run_info: RunInfo) -> Iterator[Callable[..., MLflowReceiver]]:
    """Open receivers for ``run_info``, each as a restarted server would; close them after the test."""
    receivers: list[MLflowReceiver] = []

    def build(**arguments: object) -> MLflowReceiver:
        receiver = MLflowReceiver(**arguments)
        receivers.append(receiver)
        receiver.open(run_info)
        return receiver

    yield build
    for receiver in receivers:
        receiver.close("completed")


class Store:
    """Reads the run's SQLite store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query, values).fetchall()

    def run_id(self, site: str = "site-1") -> str:
        query = "SELECT run_uuid FROM tags WHERE key = 'fedtrack.site' AND value = ?"
        ((run_id,),) = self.rows(query, site)
        return str(run_id)

    def metrics(self, site: str = "site-1") -> list[tuple[Any, ...]]:
        query = "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? ORDER BY rowid"
        return self.rows(query, self.run_id(site))

    def texts(self, table: str, site: str = "site-1") -> dict[str, str]:
        return dict(self.rows(f"SELECT key, value FROM {table} WHERE run_uuid = ?", self.run_id(site)))  # noqa: S608

    def artifacts(self, site: str = "site-1") -> dict[str, bytes]:
        ((uri,),) = self.rows("SELECT artifact_uri FROM runs WHERE run_uuid = ?", self.run_id(site))
        folder = Path(uri.removeprefix("file://"))
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def everything(self) -> list[list[tuple[Any, ...]]]:
        tables = ("metrics", "latest_metrics", "params", "tags", "experiments")
        runs = self.rows("SELECT run_uuid, name, status, start_time, artifact_uri FROM runs ORDER BY 1")
        return [runs, *(sorted(self.rows(f"SELECT * FROM {table}"), key=repr) for table in tables)]  # noqa: S608


@pytest.fixture
def store(run_info: RunInfo) -> Store:
    return Store(run_info.folder / "mlflow.db")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, _shared_template: None) -> Iterator[MLflowServer]:
    server = MLflowServer(tmp_path_factory.mktemp("mlflow-server"))
    server.start()
    yield server
    server.kill()
