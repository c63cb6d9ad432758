"""LiveRun: other processes see that a run goes on, how far it is, and that its server was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.runs.live_run import LOCK_FILE, LiveRun, Progress, read_progress, server_of
from fedtrack.runs.workspace import RunRecord, Workspace

SERVE = """
import sys, time
from pathlib import Path
from fedtrack.runs.live_run import LiveRun, Progress
LiveRun(Path(sys.argv[1])).tell(Progress("j", 2, 8, 3, 2))
print("serving", flush=True)
time.sleep(600)
"""


def test_a_run_is_live_from_its_record_to_its_end(tmp_path: Path) -> None:
    with closing(Workspace(tmp_path)) as workspace:
        assert server_of(workspace.server) is None  # the lock of the workspace alone is no run
        workspace.create(RunRecord("r1", "job/j", 5), [])
        assert server_of(workspace.server) == os.getpid()
        workspace.create(RunRecord("r1", "job/j", 5), [])  # one that is resumed
    assert server_of(workspace.server) is None
    assert not (workspace.server / LOCK_FILE).exists()


def test_a_killed_server_is_not_live_and_its_progress_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        assert server_of(tmp_path) == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert server_of(tmp_path) is None
    assert read_progress(tmp_path) == Progress("j", 2, 8, 3, 2)


def test_the_id_of_another_process_in_the_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text(f"{os.getpid()}\n")
    assert server_of(tmp_path) is None


def test_who_asks_never_takes_another_who_asks_for_the_server(tmp_path: Path) -> None:
    LiveRun(tmp_path).close()
    (tmp_path / LOCK_FILE).write_text("1\n")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: server_of(tmp_path), range(2_000))) == {None}


def test_who_asks_keeps_no_server_out(tmp_path: Path) -> None:
    Workspace(tmp_path).close()
    ask = "import sys; from pathlib import Path; from fedtrack.runs.child_run import holder\n"
    ask += "while True: holder(Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", ask, str(tmp_path / "lock")]) as process:
        try:
            for _ in range(200):
                Workspace(tmp_path).close()
        finally:
            process.kill()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkspaceError, match="running cannot be created"):
        LiveRun(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"job_name": 3}'])
def test_progress_that_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "run_progress.json").write_bytes(content)
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress("j", 0, 8), "round 0 (of 8)"),
        (Progress("j", 7, 8), "round 7 (of 8)"),
        (Progress("j", 8, 8), "after 8 of 8 rounds"),
        (Progress("j", 3, 0), "round 3"),
        (Progress("j", 1, 8, ending=True), "after 1 round"),
        (Progress("j", 8, 8, ending=True), "after 8 rounds"),
    ],
)
def test_rounds_have_the_same_numbers_for_people_as_in_the_journal(progress: Progress, text: str) -> None:
    assert progress.round_text == text
