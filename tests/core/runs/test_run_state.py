"""The state of a run: what its lock, its progress and its summary say together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.engine import RunState
from fedtrack.journal.journal import Journal
from fedtrack.runs.live_run import Progress
from fedtrack.runs.result import RunResult
from fedtrack.runs.run_state import view
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.workspace import RunRecord, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with closing(Workspace(tmp_path / "my ws")) as found:
        found.create(RunRecord("r1", "job/j", 5), ["a"])
        Journal(found.server / "journal.db").close()
        yield found


def save(workspace: Workspace, status: str, error: str = "") -> None:
    folder = workspace.server
    RunResult("r1", "j", status, error, workspace.root, folder, 1.0, [], {}, None, {}, {}, []).save()


def end(workspace: Workspace) -> None:
    """Let the lock go as a killed server does."""
    assert workspace.live is not None
    workspace.live.close()
    workspace.live = None


def test_a_run_that_goes_on_is_running_and_says_where_it_is(workspace: Workspace) -> None:
    run = StoredRun(workspace.root)
    assert view(run).detail.startswith("starting, 0 events in the journal; process ")
    assert workspace.live is not None
    workspace.live.tell(Progress("hello", 2, 8, 3, 2, waiting=["b"], failed={"a": "a: died"}))
    found = view(run)
    assert (found.state, found.goes_on, found.job_name) == (RunState.RUNNING, True, "hello")
    assert found.detail.startswith("round 2 (of 8), 2 of 3 sites up, 0 events in the journal, waiting for b; process ")
    workspace.live.tell(Progress("hello", 8, 8, 3, 3, ending=True))
    assert "after 8 rounds, 3 of 3 sites up, 0 events in the journal, delivering the rest" in view(run).detail


def test_a_summary_counts_once_the_run_is_over_and_not_before(workspace: Workspace) -> None:
    run = StoredRun(workspace.root)
    save(workspace, "failed", "no data")
    assert view(run).state is RunState.RUNNING
    end(workspace)
    found = view(run)
    assert (found.state, found.detail, found.goes_on) == (RunState.FAILED, "no data", False)


def test_a_run_without_lock_and_summary_is_lost_and_says_what_to_do(workspace: Workspace) -> None:
    run = StoredRun(workspace.root)
    assert workspace.live is not None
    workspace.live.tell(Progress("hello", 2, 8, 3, 3))
    end(workspace)
    found = view(run)
    assert (found.state, found.detail, found.job_name) == (RunState.LOST, "its server died in round 2 (of 8)", "hello")
    assert found.remedy == f"to deliver its events: fedtrack runs replay '{workspace.root}'"  # its job is not here
    (workspace.root / "job" / "j").mkdir(parents=True)
    assert view(run).remedy == f"to continue it: fedtrack resume '{workspace.root}'"


def test_another_command_in_the_workspace_is_no_run(workspace: Workspace) -> None:
    end(workspace)
    save(workspace, "completed")
    assert view(StoredRun(workspace.root)).state is RunState.COMPLETED  # the fixture still holds the workspace's lock


def test_a_journal_that_is_not_there_is_no_reason_to_fail(workspace: Workspace) -> None:
    (workspace.server / "journal.db").unlink()
    found = view(StoredRun(workspace.root))
    assert (found.state, found.events) == (RunState.RUNNING, None)
    (workspace.server / "journal.db").write_bytes(b"no database" * 100)
    assert view(StoredRun(workspace.root)).events is None
