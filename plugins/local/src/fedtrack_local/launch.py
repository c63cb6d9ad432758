"""Launch: a job is run on this machine, from its folder to its summary."""

from __future__ import annotations

import logging
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter, time_ns

from fedtrack import FedJob, Receiver, RunResult
from fedtrack.delivery import Supervisor
from fedtrack.engine import checked_run_id
from fedtrack.errors import ConfigError, JobError, WorkspaceError
from fedtrack.job import LoadedJob, Runner, export_job, load_job
from fedtrack.output import say
from fedtrack.private_folder import private_files
from fedtrack.runs import RUN_FOLDER, SUMMARY_FILE, RunRecord, StoredRun, Workspace, find_run, tally_of, view
from fedtrack.tracking import SERVER
from fedtrack.unreadable import unreadable
from fedtrack_local.active_run import begin_run
from fedtrack_local.course import play
from fedtrack_local.kept_job import keep_job
from fedtrack_local.processes.fork_server_process import ForkServerProcess
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.signals import Terminated, end_in_order
from fedtrack_local.starting import preload

log = logging.getLogger(__name__)


@private_files()
@unreadable()
@end_in_order()
def run_job(
    job: FedJob, workspace_root: Path, process: ForkServerProcess | None, *, gpus: str | None = None
) -> RunResult:
    """Export ``job`` into the workspace and run it from there.

    Args:
        job: The job.
        workspace_root: The workspace.
        process: The fork server; None if this process has imported torch: then another process runs the job.
        gpus: See ``run_folder``.

    Raises:
        FedtrackError: See ``run_folder``.
    """
    started = perf_counter()
    workspace = Workspace(workspace_root)
    _move_earlier_run(workspace)  # with its job, which the exported one replaces
    if process is None:
        # The server must not import torch: the memory would be used twice, and torch's threads do not survive a fork.
        folder = export_job(job, workspace.root / "job")
        workspace.close()
        return _run_in_subprocess(folder, workspace.root, gpus)
    say(f"Preparing {job.name}: loading what its scripts import")
    pool, supervisor = SitePool(process), Supervisor()
    try:
        supervisor.prepare({id_: item for id_, item in job.placed[SERVER].items() if isinstance(item, Receiver)})
        preload(pool, [(item.script, item) for item in _runners(job)])
        loaded = load_job(export_job(job, workspace.root / "job", pool.write_model))
        record = _new_record(loaded, workspace, checked_run_id(None))
        return play(begin_run(loaded, record, workspace, pool, supervisor, gpus, started))
    finally:
        supervisor.close()
        pool.close()
        workspace.close()


@private_files()
@unreadable()
@end_in_order()
def run_folder(
    folder: Path,
    workspace_root: Path,
    process: ForkServerProcess,
    *,
    gpus: str | None = None,
    run_id: str | None = None,
) -> RunResult:
    """Run the exported job in ``folder``.

    Args:
        folder: The job.
        workspace_root: The workspace.
        process: The fork server.
        gpus: See ``gpus.gpu_groups``.
        run_id: The run's id; None means a new one.

    Raises:
        ConfigError: The job is not valid; nothing of it was started.
        WorkspaceError: The workspace cannot be used.
        JobError: The run failed; its records until then are in the workspace.
        KeyboardInterrupt: The user ended the run; its records until then are in the workspace.
    """
    started = perf_counter()
    job, run_id = load_job(folder), checked_run_id(run_id)  # before anything is touched
    workspace = Workspace(workspace_root)
    pool, supervisor = SitePool(process), Supervisor()
    try:
        supervisor.prepare(job.receivers)
        preload(pool, _scripts(job))
        _move_earlier_run(workspace)
        job = keep_job(job, workspace)
        return play(begin_run(job, _new_record(job, workspace, run_id), workspace, pool, supervisor, gpus, started))
    finally:
        supervisor.close()
        pool.close()
        workspace.close()


@private_files()
@unreadable()
@end_in_order()
def resume(workspace_root: Path, *, gpus: str | None = None) -> RunResult:
    """Continue the run in a workspace after its last finished round, if its server was killed or failed.

    Receivers adopt their earlier records. Records of the sites that the server had not read are delivered too. A run
    that is completed is not touched; its result is returned.

    Raises:
        WorkspaceError: There is no run in the workspace, or another server still uses it.
        FedtrackError: See ``run_folder``.
    """
    started = perf_counter()
    try:
        stored = find_run(workspace_root)
    except ConfigError:
        raise WorkspaceError(
            f"There is no run to resume in {str(workspace_root)!r}; name the workspace of one."
        ) from None
    if (result := _completed(stored)) is not None:
        return result
    workspace_root = stored.base
    workspace = Workspace(workspace_root)
    pool, supervisor = None, Supervisor()
    try:
        record = workspace.record()
        if record is None:
            raise WorkspaceError(f"The run in {str(workspace_root)!r} never began; start it with: fedtrack run JOB")
        job = load_job(workspace.root / record.job)
        stored.replace_lost_journal()
        stored.put_summary_aside()
        pool = SitePool()
        supervisor.prepare(job.receivers)
        preload(pool, _scripts(job))
        return play(begin_run(job, record, workspace, pool, supervisor, gpus, started))
    finally:
        supervisor.close()
        if pool is not None:
            pool.close()
        workspace.close()


def _completed(run: StoredRun) -> RunResult | None:
    """Return the result of a run that is completed, and say so; None for every other run. Nothing is written."""
    result = None if view(run).goes_on else run.result
    if result is None or result.status != "completed":
        return None
    say(f"The run in {run.base} is completed; there is nothing to resume, and nothing was changed.")
    if not tally_of(run, result).complete:
        command = f"fedtrack runs replay {shlex.quote(str(run.kept))}"
        say(f"Some of its events have not been delivered yet; to deliver them: {command}")
    return result


def _run_in_subprocess(folder: Path, workspace: Path, gpus: str | None) -> RunResult:
    command = [sys.executable, "-P", "-m", "fedtrack", "run", str(folder), "-w", str(workspace)]
    process = subprocess.Popen(command + (["--gpus", gpus] if gpus else []))
    try:
        status = process.wait()
    except Terminated:
        process.send_signal(signal.SIGTERM)  # SIGTERM came to this process alone
        process.wait()
        raise
    except KeyboardInterrupt:
        process.wait()  # it was interrupted too, and is cleaning up
        raise
    summary = workspace / "server" / RUN_FOLDER / SUMMARY_FILE
    result = RunResult.load(summary) if summary.exists() else None
    if result is not None and result.status == "completed":
        return result  # also if a receiver got nothing, which that process has said and ended with 1
    # That process has shown the details; the caller of simulator_run gets the reason as an exception.
    reason = "" if result is None else result.error
    raise JobError(reason or f"The run failed with exit status {status}; see its messages above.")


def _move_earlier_run(workspace: Workspace) -> None:
    earlier = workspace.move_earlier_run()
    if earlier is not None:
        command = f"fedtrack runs show {shlex.quote(str(earlier))}"
        say(f"The earlier run in this workspace is kept in {earlier}, see: {command}")


def _new_record(job: LoadedJob, workspace: Workspace, run_id: str) -> RunRecord:
    place = str(job.folder.relative_to(workspace.root))
    return RunRecord(run_id, place, time_ns(), number=workspace.next_number())


def _scripts(job: LoadedJob) -> list[tuple[str, Runner]]:
    one_of_each = {str(site.script): site.client_app or site.runner for site in job.sites}
    return list(one_of_each.items())


def _runners(job: FedJob) -> list[Runner]:
    items = [*job.to_every_site.values(), *(item for table in job.placed.values() for item in table.values())]
    return [item for item in items if isinstance(item, Runner)]
