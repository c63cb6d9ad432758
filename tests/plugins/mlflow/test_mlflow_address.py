"""The meaning of tracking_uri and artifact_location, and the command that the user is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack_mlflow.address import resolve


def test_without_arguments_everything_is_in_the_runs_folder(tmp_path: Path) -> None:
    address = resolve(None, None, tmp_path)
    assert address.database == tmp_path / "mlflow.db"
    assert address.artifacts == (tmp_path / "mlartifacts").as_uri()
    assert address.results("1").command == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db"


def test_a_relative_artifact_location_is_below_the_runs_folder(tmp_path: Path) -> None:
    assert resolve(None, "artifacts", tmp_path).artifacts == (tmp_path / "artifacts").as_uri()
    assert resolve(None, "s3://bucket/x", tmp_path).artifacts == "s3://bucket/x"


def test_a_sqlite_path_may_be_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = resolve("sqlite:///sub/x.db", None, Path("/elsewhere"))
    assert address.database == tmp_path / "sub" / "x.db"
    assert address.uri == f"sqlite:///{tmp_path}/sub/x.db"


@pytest.mark.parametrize("uri", ["file:///data/my%20runs", "/data/my runs"])
def test_a_folder_is_a_file_store(uri: str, tmp_path: Path) -> None:
    address = resolve(uri, None, tmp_path)
    assert address.files == Path("/data/my runs")
    assert address.uri == "file:///data/my%20runs"
    command = "MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri file:///data/my%20runs"
    assert address.results("7").command == command


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    server = resolve("https://me:secret@mlflow.example:5000/", None, tmp_path)
    assert server.uri == "https://me:secret@mlflow.example:5000/"
    page = "#/experiments/7/runs?workflowType=machine_learning"
    assert server.results("7").location == f"https://me@mlflow.example:5000/{page}"
    assert "secret" not in str(resolve("https://secret@mlflow.example", None, tmp_path).results("7"))
    database = resolve("postgresql://me:secret@db/mlflow?password=secret&sslmode=require", None, tmp_path)
    assert database.results("7").location == "postgresql://me@db/mlflow?sslmode=require"
    assert "secret" not in str(database.results("7"))
    assert resolve("postgresql://postgres@db/mlflow", None, tmp_path).shown == "postgresql://postgres@db/mlflow"
    assert database.artifacts == (tmp_path / "mlartifacts").as_uri()


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "sqlite:mlflow.db"])
def test_a_store_without_a_file_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:////absolute/path\.db"):
        resolve(uri, None, tmp_path)


def test_a_space_in_the_folder_is_quoted_in_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    assert resolve(None, None, folder).results("1").command.endswith(f"'sqlite:///{folder}/mlflow.db'")
