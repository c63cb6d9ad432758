"""Workspace: one server at a time, and what an earlier run left stays whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.runs.workspace import RunRecord, Workspace, read_record

HOLD = """
import sys, time
from pathlib import Path
from fedtrack.runs.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
print("holding", flush=True)
time.sleep(600)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with closing(Workspace(tmp_path / "ws")) as found:
        yield found


def test_a_second_server_is_refused_with_the_first_ones_id(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match=rf"is in use by the process {os.getpid()}; wait for it or choose another"):
        Workspace(workspace.root)


def test_a_server_that_was_killed_leaves_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        with pytest.raises(WorkspaceError, match=f"in use by the process {process.pid}"):
            Workspace(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    Workspace(tmp_path).close()


def test_it_can_be_used_again_when_it_is_closed(tmp_path: Path) -> None:
    for _ in range(2):
        Workspace(tmp_path).close()


@pytest.mark.parametrize("kind", ["a file", "a link as lock"])
def test_what_cannot_be_a_workspace_is_an_error_that_says_why(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    if kind == "a file":
        root.touch()
    else:
        root.mkdir()
        (root / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkspaceError, match=r"cannot be used: .*; choose a folder that you can write"):
        Workspace(root)
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_has_private_folders_and_is_known_by_its_record(workspace: Workspace) -> None:
    record = RunRecord("r1", "job/j", 5)
    assert workspace.record() is None
    workspace.create(record, ["a", "b"])
    workspace.create(record, ["a", "b"])  # a run that is resumed
    assert workspace.record() == read_record(workspace.server) == record
    for folder in (workspace.root, workspace.server, workspace.exchange / "a", workspace.site("b")):
        assert folder.stat().st_mode & 0o077 == 0


def test_a_record_that_is_torn_is_none(workspace: Workspace) -> None:
    workspace.create(RunRecord("r1", "job/j", 5), [])
    path = workspace.server / "run.json"
    path.write_bytes(path.read_bytes()[:10])
    assert workspace.record() is None


def test_an_earlier_run_is_moved_aside_as_a_whole_and_its_job_is_copied(workspace: Workspace) -> None:
    assert workspace.move_earlier_run() is None
    workspace.create(RunRecord("r1", "job/j", 5), ["a"])
    (workspace.server / "journal.db").write_text("events")
    (workspace.site("a") / "log.txt").write_text("said")
    (workspace.root / "job" / "j").mkdir(parents=True)
    (workspace.root / "job" / "j" / "meta.json").write_text("{}")
    (workspace.root / "mine").mkdir()
    earlier = workspace.move_earlier_run()
    assert earlier == workspace.root / "earlier" / "r1"
    found = {str(path.relative_to(earlier)) for path in earlier.rglob("*") if path.is_file()}
    run_file, lock_file = "server/simulate_job/run.json", "server/simulate_job/running"
    assert found == {run_file, lock_file, "server/simulate_job/journal.db", "a/simulate_job/log.txt", "job/j/meta.json"}
    assert sorted(path.name for path in workspace.root.iterdir()) == ["earlier", "job", "lock", "mine"]
    assert (workspace.root / "job" / "j" / "meta.json").exists()  # it may be about to run again
    assert workspace.record() is None


def test_a_run_that_never_began_does_not_overwrite_another_that_did_not(workspace: Workspace) -> None:
    places = []
    for _ in range(2):
        (workspace.server / "app_server").mkdir(parents=True)
        places.append(workspace.move_earlier_run())
    assert len(set(places)) == 2
    assert all(place and place.name.startswith("unknown-") for place in places)
