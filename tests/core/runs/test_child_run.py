"""ChildRun with real processes: a run is found again through its folder, and is over when its process is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from fedtrack.runs.child_run import ChildRun, holder

WAIT = [sys.executable, "-c", "import time; print('started', flush=True); time.sleep(600)"]


def eventually(holds: Callable[[], object]) -> None:
    deadline = monotonic() + 30
    while not holds():
        assert monotonic() < deadline
        sleep(0.01)


def test_a_run_is_found_by_another_handle_and_is_gone_when_its_process_is(tmp_path: Path) -> None:
    run = ChildRun(tmp_path, "r1")
    assert (run.is_known, run.pid) == (False, None)
    run.start(WAIT)
    try:
        other = ChildRun(tmp_path, "r1")
        assert other.is_known
        assert other.pid == run.pid
        assert os.getsid(run.pid or 0) == run.pid  # Ctrl-C in the terminal is not for it
        eventually(lambda: "started" in run.last_words())
    finally:
        run.interrupt(signal.SIGKILL)
    eventually(lambda: run.pid is None)
    assert run.is_known
    run.interrupt()  # nobody is there


def test_it_outlives_whoever_started_it(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from fedtrack.runs.child_run import ChildRun
ChildRun(Path({str(tmp_path)!r}), "r1").start({WAIT!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    run = ChildRun(tmp_path, "r1")
    assert run.pid is not None
    run.interrupt()
    eventually(lambda: run.pid is None)


def test_a_run_is_started_once(tmp_path: Path) -> None:
    run = ChildRun(tmp_path, "r1")
    run.start([sys.executable, "-c", "print('first')"])
    eventually(lambda: run.pid is None)
    with pytest.raises(FileExistsError):
        ChildRun(tmp_path, "r1").start([sys.executable, "-c", "print('second')"])
    assert run.last_words() == "its last words: first"


def test_last_words_are_the_last_line_of_what_it_said_on_either_stream(tmp_path: Path) -> None:
    run = ChildRun(tmp_path, "r1")
    assert run.last_words() == "it left no word"
    run.start([sys.executable, "-c", "import sys; print('out', flush=True); sys.exit('Error: no such folder')"])
    eventually(lambda: run.pid is None)
    assert run.last_words() == "its last words: Error: no such folder"


def test_a_number_in_a_file_that_nobody_holds_is_no_process(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(str(os.getpid()))
    assert holder(tmp_path / "lock") is None
    assert holder(tmp_path / "missing") is None


def test_its_files_are_private(tmp_path: Path) -> None:
    run = ChildRun(tmp_path, "r1")
    run.start([sys.executable, "-c", ""])
    eventually(lambda: run.pid is None)
    folder = tmp_path / "submissions"
    assert (folder.stat().st_mode & 0o777, (folder / "r1").stat().st_mode & 0o777) == (0o700, 0o600)
