"""Detached runs: runs in a process of their own, found again through their workspace."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from time import monotonic, sleep

from fedtrack import RunResult
from fedtrack.engine import RunHandle, RunState, RunStatus, checked_run_id
from fedtrack.errors import EngineTimeout, RunNotFound, WorkspaceError
from fedtrack.job import load_job
from fedtrack.runs import RUN_FOLDER, SUMMARY_FILE, ChildRun, Workspace, holder, read_record

_POLL_SECONDS = 0.1


def submit(folder: Path, workspace: Path, run_id: str | None) -> RunHandle:
    """Start a run; see ``Engine.submit``."""
    load_job(folder)  # an error is shown here, and not in the log of a process that nobody watches
    root = workspace.absolute()
    run = RunHandle("local", str(root), checked_run_id(run_id), str(root))
    child = ChildRun(root, run.run_id)
    if child.is_known or _run_folder(run) is not None:
        return run
    if holder(root / "lock") is not None:
        Workspace(root)  # raises an error that names the process
    command = [sys.executable, "-m", "fedtrack", "run", str(folder.absolute()), "-w", str(root)]
    child.start([*command, "--run-id", run.run_id])
    return run


def status(run: RunHandle) -> RunStatus:
    """Return the status of a run; see ``Engine.status``."""
    if _pid(run) is not None:
        return RunStatus(RunState.SUBMITTED if _run_folder(run) is None else RunState.RUNNING)
    folder, child = _run_folder(run), ChildRun(Path(run.target), run.run_id)
    if folder is None and not child.is_known:
        raise RunNotFound(f"{run.target} holds no run {run.run_id!r}; it was another workspace, or it was deleted.")
    if folder is None or not (folder / SUMMARY_FILE).exists():
        return RunStatus(RunState.LOST, f"its process died; {child.last_words()}")
    result = RunResult.load(folder / SUMMARY_FILE)
    return RunStatus(RunState(result.status), result.error, result.events_complete)


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
    if not status(run).state.is_final and (pid := _pid(run)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)  # a process that a shell starts in the background ignores SIGINT


def fetch(run: RunHandle, dest: Path) -> RunResult:
    """Copy a run's results; see ``Engine.fetch``."""
    found = status(run)
    if not found.state.is_final:
        raise EngineTimeout(f"The run {run.run_id} is {found.state}; wait for its end, then fetch it.")
    folder = _run_folder(run)
    if folder is None or not (folder / SUMMARY_FILE).exists():
        raise RunNotFound(f"The run {run.run_id} left no results; go on with it: fedtrack resume {run.target}")
    target = dest.absolute() / "server" / RUN_FOLDER
    if target == folder:
        return RunResult.load(folder / SUMMARY_FILE)
    if target.exists():
        raise WorkspaceError(f"{dest} holds a run already; choose another folder.")
    shutil.copytree(folder, target)
    return RunResult.load(target / SUMMARY_FILE).moved(dest.absolute(), target)


def _pid(run: RunHandle) -> int | None:
    """Return the id of the process that runs ``run`` now, also if the run was not submitted."""
    root = Path(run.target)
    pid = ChildRun(root, run.run_id).pid
    if pid is not None:
        return pid
    record = read_record(root / "server" / RUN_FOLDER)
    return holder(root / "lock") if record is not None and record.run_id == run.run_id else None


def _run_folder(run: RunHandle) -> Path | None:
    root = Path(run.target)
    for folder in (root / "server" / RUN_FOLDER, root / "earlier" / run.run_id / "server" / RUN_FOLDER):
        record = read_record(folder)
        if record is not None and record.run_id == run.run_id:
            return folder
    return None
