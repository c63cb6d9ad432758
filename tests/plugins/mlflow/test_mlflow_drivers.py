"""A database driver that is missing is said before anything starts, with what to install."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job import FedAvgJob, ScriptRunner, load_job
from fedtrack_mlflow import MLflowReceiver


@pytest.mark.parametrize(
    ("uri", "package"),
    [
        ("postgresql+pg8000://me:secret@db/mlflow", "pg8000"),
        ("mysql+pymysql://me:secret@db/mlflow", "pymysql"),
        ("mssql+pymssql://me:secret@db/mlflow", "pymssql"),
    ],
)
def test_a_missing_driver_is_named_without_the_password(uri: str, package: str) -> None:
    with pytest.raises(ConfigError, match=rf"install it with: .*{package}") as error:
        MLflowReceiver(tracking_uri=uri).check()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("uri", [None, "sqlite:///a.db", "http://db:5000", "/data/mlruns", "databricks", "mysqlx://db"])
def test_other_stores_need_no_driver(uri: str | None) -> None:
    MLflowReceiver(tracking_uri=uri).check()


def test_a_job_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text("")
    job = FedAvgJob(n_clients=1)
    job.to_clients(ScriptRunner(script=str(tmp_path / "client.py")))
    job.to_server(MLflowReceiver(tracking_uri="mysql+pymysql://db/mlflow"), id="mlflow")
    job.export_job(tmp_path / "job")
    (folder,) = [path.parent for path in (tmp_path / "job").rglob("meta.json")]
    assert "mysql" in json.dumps([path.read_text() for path in folder.rglob("*.json")])
    with pytest.raises(ConfigError, match="pymysql is not installed"):
        load_job(folder)
