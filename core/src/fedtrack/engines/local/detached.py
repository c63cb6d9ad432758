"""Runs in a process of their own that outlives whoever submitted them, found again through their workspace.

A submitted run's process inherits a lock on ``<workspace>/submissions/<run id>``. The kernel releases it with the
process, however that ends, so a run that is over can be told from one that goes on without trusting a process id.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

from fedtrack.engines.engine import RunHandle, RunState, RunStatus, checked_run_id
from fedtrack.engines.local.workspace import RUN_FOLDER, Workspace, read_record
from fedtrack.errors import EngineTimeout, RunNotFound, WorkspaceError
from fedtrack.job.load import load_job
from fedtrack.job.run_result import SUMMARY_FILE, RunResult

_POLL_SECONDS = 0.1
_STATES = {"completed": RunState.COMPLETED, "failed": RunState.FAILED, "aborted": RunState.ABORTED}

#: Kept so that a run which this process started is reaped by it, and not reported as forgotten.
_started: list[subprocess.Popen[bytes]] = []


def submit(folder: Path, workspace: Path, run_id: str | None) -> RunHandle:
    """Start a run; see ``Engine.submit``."""
    load_job(folder)  # says what is wrong here, not in the log of a process that nobody watches
    root = workspace.absolute()
    run = RunHandle("local", str(root), checked_run_id(run_id), str(root))
    if _submission(run).exists() or _run_folder(run) is not None:
        return run
    if is_locked(root / "lock"):
        Workspace(root)  # raises: it names the process
    _submission(run).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(_submission(run), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "fedtrack", "run", str(folder.absolute()), "-w", str(root)]
        with _log(run).open("wb") as log:
            process = subprocess.Popen(
                [*command, "--run-id", run.run_id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C ends the waiting, not the run
                pass_fds=[lock],
            )
        os.write(lock, str(process.pid).encode())
    finally:
        os.close(lock)
    _started.append(process)
    return run


def status(run: RunHandle) -> RunStatus:
    """Return where a run is; see ``Engine.status``."""
    for process in _started:
        process.poll()
    folder = _run_folder(run)
    if _pid(run) is not None:
        return RunStatus(RunState.SUBMITTED if folder is None else RunState.RUNNING)
    folder = _run_folder(run)  # again: it may have begun and ended since
    if folder is None and not _submission(run).exists():
        raise RunNotFound(f"{run.target} holds no run {run.run_id!r}; it was another workspace, or it was deleted.")
    if folder is None or not (folder / SUMMARY_FILE).exists():
        return RunStatus(RunState.LOST, f"its process died; {_last_line(run)}")
    result = RunResult.load(folder / SUMMARY_FILE)
    return RunStatus(_STATES[result.status], result.error, result.events_complete)


def wait(run: RunHandle, timeout: float | None) -> RunStatus:
    """Wait until a run is over; see ``Engine.wait``."""
    deadline = None if timeout is None else monotonic() + timeout
    while not (found := status(run)).state.is_final:
        if deadline is not None and monotonic() >= deadline:
            raise EngineTimeout(f"The run {run.run_id} is {found.state} after {timeout:g} s and goes on.")
        sleep(_POLL_SECONDS)
    return found


def abort(run: RunHandle) -> None:
    """End a run as Ctrl-C does; see ``Engine.abort``."""
    if status(run).state.is_final:
        return
    pid = _pid(run)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


def fetch(run: RunHandle, dest: Path) -> RunResult:
    """Copy a run's results; see ``Engine.fetch``."""
    found = status(run)
    if not found.state.is_final:
        raise EngineTimeout(f"The run {run.run_id} is {found.state}; wait for its end, then fetch it.")
    folder = _run_folder(run)
    if folder is None or not (folder / SUMMARY_FILE).exists():
        raise RunNotFound(f"The run {run.run_id} left no results; go on with it: fedtrack run --resume {run.target}")
    result = RunResult.load(folder / SUMMARY_FILE)
    target = dest.absolute() / "server" / RUN_FOLDER
    if target == folder:
        return result
    if target.exists():
        raise WorkspaceError(f"{dest} holds a run already; choose another folder.")
    shutil.copytree(folder, target)
    return result.moved(dest.absolute(), target)


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock on ``path``."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _submission(run: RunHandle) -> Path:
    return Path(run.target) / "submissions" / run.run_id


def _log(run: RunHandle) -> Path:
    return _submission(run).with_suffix(".log")


def _pid(run: RunHandle) -> int | None:
    """Return the id of the process that runs ``run`` now, also of one that was not submitted."""
    workspace_lock = Path(run.target) / "lock"
    record = read_record(Path(run.target) / "server" / RUN_FOLDER)
    for lock, is_its_own in ((_submission(run), True), (workspace_lock, record and record.run_id == run.run_id)):
        if is_its_own and is_locked(lock):
            text = lock.read_text().strip()
            return int(text) if text.isdigit() else None
    return None


def _run_folder(run: RunHandle) -> Path | None:
    root = Path(run.target)
    for folder in (root / "server" / RUN_FOLDER, root / "earlier" / run.run_id / "server" / RUN_FOLDER):
        record = read_record(folder)
        if record is not None and record.run_id == run.run_id:
            return folder
    return None


def _last_line(run: RunHandle) -> str:
    try:
        lines = _log(run).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return f"its last words: {lines[-1]}" if lines else "it left no word"
