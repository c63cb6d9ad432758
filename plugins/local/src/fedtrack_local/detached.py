"""Detached runs: runs in a process of their own, found again through their workspace."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from time import monotonic, sleep

from fedtrack.engine import RunHandle, RunState, RunStatus, checked_run_id
from fedtrack.errors import EngineTimeout, RunNotFound, WorkspaceError
from fedtrack.job import load_job
from fedtrack.runs import RUN_FOLDER, SUMMARY_FILE, ChildRun, RunResult, StoredRun, Workspace, find_runs, holder, view

_POLL_SECONDS = 0.1


def submit(folder: Path, workspace: Path, run_id: str | None) -> RunHandle:
    """Start a run; see ``Engine.submit``."""
    load_job(folder)  # an error is shown here, and not in the log of a process that nobody watches
    root = workspace.absolute()
    run = RunHandle("local", str(root), checked_run_id(run_id), str(root))
    child = ChildRun(root, run.run_id)
    if child.is_known or _stored(run) is not None:
        return run
    if holder(root / "lock") is not None:
        Workspace(root)  # raises an error that names the process
    command = [sys.executable, "-P", "-m", "fedtrack", "run", str(folder.absolute()), "-w", str(root)]
    child.start([*command, "--run-id", run.run_id])
    return run


def status(run: RunHandle) -> RunStatus:
    """Return the status of a run; see ``Engine.status``."""
    stored, child = _stored(run), ChildRun(Path(run.target), run.run_id)
    starts = stored is None and child.pid is not None
    if starts and (stored := _stored(run)) is None:  # looked for again, because it may have begun since
        return RunStatus(RunState.SUBMITTED)
    if stored is None and not child.is_known:
        raise RunNotFound(f"{run.target} holds no run {run.run_id!r}; it was another workspace, or it was deleted.")
    if stored is None:
        return RunStatus(RunState.LOST, f"its process died; {child.last_words()}")
    found = view(stored)
    if found.state is RunState.LOST:
        words = f"; {child.last_words()}" if child.is_known else ""
        return RunStatus(RunState.LOST, f"{found.detail}{words}; {found.remedy}")
    result = None if found.goes_on else stored.result
    if result is None:
        return RunStatus(found.state, found.detail)
    return RunStatus(found.state, found.detail, result.events_complete, result.unserved)


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
    stored, child = _stored(run), ChildRun(Path(run.target), run.run_id)
    pid = child.pid or (view(stored).pid if stored else None)
    if pid and not status(run).state.is_final:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)  # a process that a shell starts in the background ignores SIGINT


def fetch(run: RunHandle, dest: Path) -> RunResult:
    """Copy a run's results; see ``Engine.fetch``."""
    found = status(run)
    if not found.state.is_final:
        raise EngineTimeout(f"The run {run.run_id} is {found.state}; wait for its end, then fetch it.")
    stored = _stored(run)
    if stored is None or not (stored.folder / SUMMARY_FILE).exists():
        raise RunNotFound(f"The run {run.run_id} left no results; go on with it: fedtrack resume {run.target}")
    folder = stored.folder
    target = dest.absolute() / "server" / RUN_FOLDER
    if target == folder:
        return RunResult.load(folder / SUMMARY_FILE)
    if target.exists():
        raise WorkspaceError(f"{dest} holds a run already; choose another folder.")
    shutil.copytree(folder, target)
    return RunResult.load(target / SUMMARY_FILE).moved(dest.absolute(), target)


def _stored(run: RunHandle) -> StoredRun | None:
    """Return the run's folders in its workspace; None if it has not begun, or is not there any more."""
    runs = find_runs(Path(run.target))
    return next((found for found in runs if found.record and found.record.run_id == run.run_id), None)
