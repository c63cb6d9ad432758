"""RunView: the state of a run as its files and its lock show it, now, from any process."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from typing import NamedTuple

from fedtrack.engine import RunState
from fedtrack.errors import FedtrackError
from fedtrack.runs.live_run import Progress, read_progress, server_of
from fedtrack.runs.result import SUMMARY_FILE, RunResult
from fedtrack.runs.stored_run import StoredRun


class RunView(NamedTuple):
    """A run as others see it.

    Attributes:
        state: ``running``, ``completed``, ``failed``, ``aborted``, or ``lost`` if its server died.
        detail: The place or the end of the run, for people; "" if there is nothing to say.
        job_name: The job's name, or "" if it is not known.
        progress: The last progress that its server wrote; None if it wrote none.
        events: The events in the server's journal; None if that cannot be read.
        pid: The server's process; None if the run does not go on.
        remedy: What to do if the server died: a command, and its purpose.
    """

    state: RunState
    detail: str
    job_name: str
    progress: Progress | None
    events: int | None
    pid: int | None
    remedy: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether the run is not over."""
        return self.pid is not None


def view(run: StoredRun) -> RunView:
    """Return the state of a run; nothing of it is changed or waited for."""
    pid, progress = server_of(run.folder), read_progress(run.folder)
    result = run.result
    if run.is_collected:
        return _collected(run, pid, result)
    if run.record is not None and not run.record.job:
        return _alone(run)
    job_name = progress.job_name if progress else result.job_name if result else ""
    events = _events(run)
    if pid is None and (late := run.result) is not None:  # read again: the run may have ended since
        return RunView(RunState(late.status), late.error, late.job_name, progress, events, None)
    if pid is not None:
        return RunView(RunState.RUNNING, _place(progress, events, pid), job_name, progress, events, pid)
    if (run.folder / SUMMARY_FILE).exists():
        detail, remedy = f"its summary, {run.folder / SUMMARY_FILE}, cannot be read", _remedy(run)
        return RunView(RunState.LOST, detail, job_name, progress, events, None, remedy)
    where = f" in {progress.round_text}" if progress and not progress.ending else ""
    return RunView(RunState.LOST, f"its server died{where}", job_name, progress, events, None, _remedy(run))


def _collected(run: StoredRun, pid: int | None, result: RunResult | None) -> RunView:
    """Return the state of a collector's run, which goes on until its owner ends it, also while no collector runs."""
    events = _events(run)
    counted = "" if events is None else f"{events:,} events in the journal"
    if pid is None and result is not None and result.status != RunState.RUNNING:
        return RunView(RunState(result.status), "", run.base.name, None, events, None)
    if pid is not None:
        return RunView(RunState.RUNNING, f"{counted}; collector {pid}", run.base.name, None, events, pid)
    died = "its collector died; " if result is None else "no collector runs; "
    remedy = f"to go on: fedtrack collect {shlex.quote(str(run.base.parent.parent))}"
    return RunView(RunState.RUNNING, died + counted, run.base.name, None, events, None, remedy)


def _alone(run: StoredRun) -> RunView:
    """Return the state of a script that no job runs: it has no server, and holds the workspace while it runs."""
    pid = server_of(run.folder)
    state = RunState.COMPLETED if pid is None else RunState.RUNNING
    purpose = "a script without a job" if pid is None else f"a script without a job, process {pid}"
    command = f"to deliver its records: fedtrack runs replay {shlex.quote(str(run.kept))} --receiver NAME"
    with contextlib.suppress(FedtrackError, sqlite3.Error), run.journal() as journal:
        return RunView(state, purpose, journal.meta("job_name") or "", None, journal.total(), pid, command)
    return RunView(state, purpose, "", None, None, pid, command)


def _remedy(run: StoredRun) -> str:
    """Return the command that goes on with a run whose server died, or that delivers what it left."""
    record, base = run.record, shlex.quote(str(run.kept))
    if record is not None and (run.base / record.job).is_dir():
        return f"to continue it: fedtrack resume {base}"
    return f"to deliver its events: fedtrack runs replay {base}"


def _place(progress: Progress | None, events: int | None, pid: int) -> str:
    parts = [progress.round_text, progress.sites_text] if progress else ["starting"]
    if events is not None:
        parts.append(f"{events:,} events in the journal")
    if progress is not None and progress.ending:
        parts.append("delivering the rest")
    elif progress is not None and progress.waiting:
        parts.append(f"waiting for {', '.join(progress.waiting)}")
    return f"{', '.join(parts)}; process {pid}"


def _events(run: StoredRun) -> int | None:
    with contextlib.suppress(FedtrackError, sqlite3.Error), run.journal() as journal:
        return (
            journal.total() if journal.streams() or not journal.damage else None
        )  # of a damaged one, marks may be gone
    return None
