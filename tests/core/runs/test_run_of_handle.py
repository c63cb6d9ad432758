"""A handle in a file names its run, as its workspace does."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.engine import RunHandle
from fedtrack.errors import ConfigError
from fedtrack.runs.stored_run import StoredRun, find_run
from fedtrack.runs.workspace import RunRecord, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = Workspace(tmp_path / "ws")
    place.create(RunRecord("r1", "job/j", 1), ["site-1"])
    place.close()
    return tmp_path / "ws"


def handle(tmp_path: Path, engine: str, run_id: str) -> Path:
    path = tmp_path / "handle.json"
    path.write_text(RunHandle(engine, str(tmp_path / "ws"), run_id, "native").to_json())
    return path


def test_the_run_of_a_handle_is_found(workspace: Path, tmp_path: Path) -> None:
    assert find_run(handle(tmp_path, "local", "r1")) == find_run(workspace) == StoredRun(workspace)


@pytest.mark.parametrize(
    ("engine", "run_id", "message"),
    [
        ("local", "r2", "holds no run 'r2'; it has not begun, or was deleted"),
        ("nvflare", "r1", "on the engine 'nvflare'; download it first: fedtrack runs fetch .* -w FOLDER"),
    ],
)
def test_a_run_that_is_not_here_is_explained(
    workspace: Path, tmp_path: Path, engine: str, run_id: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        find_run(handle(tmp_path, engine, run_id))


@pytest.mark.parametrize("text", ["", "{}", "no handle", "\x00"])
def test_a_file_that_is_no_handle_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "other").write_text(text)
    with pytest.raises(ConfigError, match="other is no handle of a run"):
        find_run(tmp_path / "other")
