"""LiveState: a change of the run reaches the file that others read, also after the last round."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedtrack.runs import Progress, RunRecord, Workspace
from fedtrack.runs.live_run import read_progress
from fedtrack_local import live_state
from fedtrack_local.live_state import LiveState


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(live_state, "_POLL_SECONDS", 0.01)
    with closing(Workspace(tmp_path)) as found:
        found.create(RunRecord("r1", "job/j", 5), [])
        yield found


def make(workspace: Workspace, sites: int = 3) -> tuple[Any, Any]:
    workflow = SimpleNamespace(planned_rounds=lambda: 4)
    run = SimpleNamespace(
        job=SimpleNamespace(workflows={"one": workflow, "two": workflow}),
        roster=SimpleNamespace(names=tuple(f"site-{i}" for i in range(1, sites + 1))),
        info=SimpleNamespace(job_name="j"),
        workspace=workspace,
    )
    server = SimpleNamespace(rounds=[], failed={}, waiting={f"site-{i}" for i in range(1, sites + 1)}, is_over=False)
    return run, server


def wait_for(workspace: Workspace, wanted: Progress) -> None:
    deadline = time.monotonic() + 30
    while (found := read_progress(workspace.server)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.005)


def test_others_see_rounds_sites_and_the_end(workspace: Workspace) -> None:
    run, server = make(workspace)
    with LiveState(run, server):
        assert read_progress(workspace.server) == Progress("j", 0, 8, 3, 3)
        server.waiting = {"site-2"}
        wait_for(workspace, Progress("j", 0, 8, 3, 3, waiting=["site-2"]))
        server.failed["site-2"] = ValueError("no data")
        server.rounds.append(object())
        server.waiting = set()
        wait_for(workspace, Progress("j", 1, 8, 3, 2, failed={"site-2": "no data"}))
        server.is_over = True
    assert read_progress(workspace.server) == Progress("j", 1, 8, 3, 2, failed={"site-2": "no data"}, ending=True)


def test_thousands_of_sites_that_fail_are_a_few_names(workspace: Workspace) -> None:
    run, server = make(workspace, 10_000)
    server.failed = dict.fromkeys(sorted(server.waiting)[:5_000], ValueError("gone"))
    server.waiting -= server.failed.keys()
    server.waiting.pop()
    with LiveState(run, server):
        found = read_progress(workspace.server)
    assert found is not None
    assert (found.sites, found.up, len(found.failed), len(found.waiting)) == (10_000, 5_000, 4, 4)


def test_nothing_is_written_as_long_as_nothing_changes(workspace: Workspace) -> None:
    run, server = make(workspace)
    with LiveState(run, server) as state:
        path = workspace.server / "run_progress.json"
        before = path.stat().st_ino
        state.tell()
        assert path.stat().st_ino == before
