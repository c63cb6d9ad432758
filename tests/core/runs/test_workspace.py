"""Workspace: one server at a time, and what an earlier run left stays whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.engine import RunHandle
from fedtrack.errors import WorkspaceError
from fedtrack.runs.stored_run import find_run, find_runs
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
    assert earlier == workspace.root / "runs" / "1"
    found = {str(path.relative_to(earlier)) for path in earlier.rglob("*") if path.is_file()}
    run_file, lock_file = "server/simulate_job/run.json", "server/simulate_job/running"
    assert found == {run_file, lock_file, "server/simulate_job/journal.db", "a/simulate_job/log.txt", "job/j/meta.json"}
    assert sorted(path.name for path in workspace.root.iterdir()) == ["job", "lock", "mine", "runs"]
    assert (workspace.root / "job" / "j" / "meta.json").exists()  # it may be about to run again
    assert workspace.record() is None


def test_the_paths_of_a_run_lead_to_its_files_also_after_the_next_runs(tmp_path: Path) -> None:
    files = []
    for number in (1, 2, 3):
        with closing(Workspace(tmp_path)) as workspace:
            workspace.move_earlier_run()
            workspace.create(RunRecord(f"r{number}", "job/j", number, number=workspace.next_number()), ["a"])
            (tmp_path / "job" / "j").mkdir(parents=True, exist_ok=True)
            (tmp_path / "job" / "j" / "meta.json").write_text(str(number))
            assert workspace.base == tmp_path / "runs" / str(number)
            for file in (workspace.server / "file", workspace.site("a") / "file"):
                file.write_text(str(number))
                files.append((file, str(number)))
            files.append((workspace.base / "job" / "j" / "meta.json", str(number)))
        assert (tmp_path / "server" / "simulate_job" / "file").read_text() == str(number)  # the last one is here too
        assert [(file, file.read_text()) for file, _ in files] == files
    for number, path in enumerate(sorted((tmp_path / "runs").iterdir()), 1):
        assert find_run(path).record == find_run(path / "server" / "simulate_job").record
        found = find_run(path).record
        assert found is not None
        assert found.run_id == f"r{number}"
    assert find_run(tmp_path / "runs" / "3").base == tmp_path  # one run has one lock
    runs = [run.record.run_id for run in find_runs(tmp_path) if run.record]
    assert runs == ["r3", "r2", "r1"]


def test_a_move_that_was_killed_is_continued_to_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "b", "c"]
    with closing(Workspace(tmp_path)) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5), names)
    rename, left = Path.rename, [1]

    def killed(self: Path, target: Path) -> Path:
        if self.parent == tmp_path and not left:
            raise KeyboardInterrupt
        if self.parent == tmp_path:
            left.pop()
        return rename(self, target)

    moved = None
    monkeypatch.setattr(Path, "rename", killed)
    for _ in range(len(names) + 1):
        left[:] = [1]
        with closing(Workspace(tmp_path)) as workspace, contextlib.suppress(KeyboardInterrupt):
            assert workspace.record() is not None
            moved = workspace.move_earlier_run()
    assert moved == tmp_path / "runs" / "1"
    assert sorted(path.name for path in moved.iterdir()) == ["a", "b", "c", "server"]


def test_a_handle_goes_with_its_run_and_that_of_another_run_stays(tmp_path: Path) -> None:
    handle = tmp_path / "handle.json"
    handle.write_text(RunHandle("cloud", "there", "r2", "7").to_json())
    for run_id, stays in (("r1", True), ("r2", False)):
        with closing(Workspace(tmp_path)) as workspace:
            workspace.create(RunRecord(run_id, "job/j", 5), [])
        with closing(Workspace(tmp_path)) as workspace:
            workspace.move_earlier_run()
        assert handle.exists() is stays
    assert (tmp_path / "runs" / "2" / "handle.json").exists()


def test_a_run_that_never_began_does_not_overwrite_another_that_did_not(workspace: Workspace) -> None:
    places = []
    for _ in range(2):
        (workspace.server / "app_server").mkdir(parents=True)
        places.append(workspace.move_earlier_run())
    assert places == [workspace.root / "runs" / "1", workspace.root / "runs" / "2"]
