"""Models are exchanged between server and sites as files, on any file system."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from fedtrack.runs.result import RunResult
from fedtrack_local.models.params import load_params
from fedtrack_local.scripts import task_models

from .conftest import MakeJob

pytestmark = pytest.mark.slow

#: Notes which file a site was sent, and which one the server keeps.
NOTE = """
import json, os, pathlib
from fedtrack.client import backend
root = next(path for path in pathlib.Path.cwd().parents if (path / "server").is_dir())
server = root / "server" / "simulate_job"
kept = server / "app_server" / "FL_global_model.safetensors"
tasks = list((server / "exchange" / flare.get_site_name()).glob("task-*.safetensors"))
sent = os.fstat(backend.current()._file) if not tasks else max(tasks, key=lambda p: p.stat().st_mtime_ns).stat()
note = [sent.st_ino, kept.stat().st_ino if kept.exists() else None]
pathlib.Path(f"files-{model.current_round}.json").write_text(json.dumps(note))
"""


def noted(result: RunResult, site: str, current_round: int) -> list[int | None]:
    custom = result.workspace / "job" / "test-job" / f"app_{site}" / "custom"
    note: list[int | None] = json.loads((custom / f"files-{current_round}.json").read_text())
    return note


def assert_averaged(result: RunResult, rounds: int) -> None:
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 3), rounds, np.float32))


def test_sites_share_a_file_that_is_nobodys(make_job: MakeJob, tmp_path: Path) -> None:
    result = make_job(NOTE, num_rounds=3).simulator_run(tmp_path / "ws")
    assert_averaged(result, 3)
    for current_round in (1, 2):
        sent, kept = noted(result, "site-1", current_round)
        assert sent != kept, "a site could change the model of the server"
        assert noted(result, "site-2", current_round) == [sent, kept], "written twice"
    assert not [path for path in (result.folder / "exchange").rglob("*") if path.is_file()]


def test_what_a_site_does_to_its_tensors_reaches_nobody_else(make_job: MakeJob, tmp_path: Path) -> None:
    train = """
    import pytest
    with pytest.raises(ValueError, match="read-only"):
        model.params["w"][:] = 7
    """
    assert_averaged(make_job(train).simulator_run(tmp_path / "ws"), 2)


def test_a_workspace_in_memory_works(make_job: MakeJob, other_file_system: Path) -> None:
    assert_averaged(make_job().simulator_run(other_file_system / "ws"), 2)


def test_models_that_are_too_large_for_the_memory_are_copied_for_each_site(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)  # the server's process is this one
    monkeypatch.setattr(task_models, "memory_limit", lambda: 0)
    result = make_job(NOTE, num_rounds=2).simulator_run(tmp_path / "ws")
    assert_averaged(result, 2)
    files = [noted(result, site, 1)[0] for site in ("site-1", "site-2")]
    assert len({*files, noted(result, "site-1", 1)[1]}) == 3


def test_a_server_on_another_file_system_than_its_job_works(
    make_job: MakeJob, tmp_path: Path, other_file_system: Path
) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "server").symlink_to(other_file_system, target_is_directory=True)
    result = make_job(NOTE).simulator_run(tmp_path / "ws")
    assert_averaged(result, 2)
    initial = tmp_path / "ws" / "job" / "test-job" / "app_server" / "custom" / "initial_model.safetensors"
    assert initial.stat().st_dev != (result.folder / "app_server").stat().st_dev
