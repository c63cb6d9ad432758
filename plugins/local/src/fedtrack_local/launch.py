"""Runs a job on this machine from its folder to its summary."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, time_ns

from fedtrack.delivery.host import STALL_SECONDS, ReceiverHost
from fedtrack.engine import checked_run_id
from fedtrack.errors import FedtrackError, JobError, WorkspaceError
from fedtrack.job.components import Runner
from fedtrack.job.export import export_job
from fedtrack.job.fed_job import FedJob
from fedtrack.job.load import LoadedJob, load_job
from fedtrack.job.workflows import executable
from fedtrack.runs.page import print_summary
from fedtrack.runs.result import SUMMARY_FILE, RunResult
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.workspace import RUN_FOLDER, RunRecord, Workspace
from fedtrack.spool.identity import SpoolIdentity
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.transport.spool_source import SpoolSource
from fedtrack_local.exchange import Exchange
from fedtrack_local.processes.fork_server_process import ForkServerProcess
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.roster import Roster
from fedtrack_local.scripts.script_exchange import ScriptExchange
from fedtrack_local.scripts.site_agent import SiteAgent
from fedtrack_local.server import LocalServer
from fedtrack_local.starting import preload, prepare, start_sites, start_workers
from fedtrack_local.summary import Outcome, summarize

log = logging.getLogger(__name__)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end a run in order, as Ctrl-C does: batch systems send it before they kill."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not ours to handle
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@_sigterm_interrupts()
def run_job(
    job: FedJob, workspace_root: Path, process: ForkServerProcess | None, *, gpus: str | None = None
) -> RunResult:
    """Export ``job`` into the workspace and run it from there.

    Args:
        job: The job.
        workspace_root: The workspace.
        process: The fork server; None if this process has torch, in which case another one runs the job.
        gpus: See ``run_folder``.

    Raises:
        FedtrackError: See ``run_folder``.
    """
    started = perf_counter()
    workspace = Workspace(workspace_root)
    _move_earlier_run(workspace)  # with its job, in whose place this one is exported
    if process is None:
        # The server must not carry torch: its memory would count twice, and its threads do not survive forks.
        folder = export_job(job, workspace.root / "job")
        workspace.close()
        return _run_in_subprocess(folder, workspace.root, gpus)
    print(f"Preparing {job.name}: loading what its scripts import", file=sys.stderr)
    pool = SitePool(process)
    prepare([item for item in job.placed[SERVER].values() if isinstance(item, Receiver)])
    try:
        preload(pool, [(item.script, item) for item in _runners(job)])
        folder = export_job(job, workspace.root / "job", pool.write_model)
        return _run(folder, workspace, pool, gpus, started)
    finally:
        pool.close()
        workspace.close()


@_sigterm_interrupts()
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
        run_id: The run's id; a fresh one, if None.

    Raises:
        ConfigError: The job is not valid; nothing of it was started.
        WorkspaceError: The workspace cannot be used.
        JobError: The run failed; what was logged until then is in the workspace.
        KeyboardInterrupt: The user ended it; likewise.
    """
    started = perf_counter()
    job = load_job(folder)  # before anything is touched
    workspace = Workspace(workspace_root)
    pool = SitePool(process)
    prepare(job.receivers.values())
    try:
        preload(pool, _scripts(job))
        return _run(folder, workspace, pool, gpus, started, run_id=run_id)
    finally:
        pool.close()
        workspace.close()


@_sigterm_interrupts()
def resume(workspace_root: Path, *, gpus: str | None = None) -> RunResult:
    """Go on with the run in a workspace whose server was killed or failed, after its last finished round.

    Receivers adopt what they wrote before; what the sites had logged and the server had not read is delivered too.

    Raises:
        WorkspaceError: There is no run in the workspace, or another server is still at it.
        FedtrackError: See ``run_folder``.
    """
    started = perf_counter()
    if not (workspace_root / "server" / RUN_FOLDER).is_dir():
        raise WorkspaceError(f"There is no run to resume in {str(workspace_root)!r}; name the workspace of one.")
    workspace = Workspace(workspace_root)
    pool = None
    try:
        record = workspace.record()
        if record is None:
            raise WorkspaceError(f"The run in {str(workspace_root)!r} never began; start it with: fedtrack run JOB")
        folder = workspace.root / record.job
        job = load_job(folder)
        StoredRun(workspace.root).replace_lost_journal()
        pool = SitePool()
        prepare(job.receivers.values())
        preload(pool, _scripts(job))
        return _run(folder, workspace, pool, gpus, started, record)
    finally:
        if pool is not None:
            pool.close()
        workspace.close()


def _run_in_subprocess(folder: Path, workspace: Path, gpus: str | None) -> RunResult:
    command = [sys.executable, "-m", "fedtrack", "run", str(folder), "-w", str(workspace)]
    process = subprocess.Popen(command + (["--gpus", gpus] if gpus else []))
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # it was interrupted too, and is cleaning up
        raise
    summary = workspace / "server" / RUN_FOLDER / SUMMARY_FILE
    if status:
        # It has shown the details; the caller of simulator_run gets the reason as an exception.
        reason = RunResult.load(summary).error if summary.exists() else ""
        raise JobError(reason or f"The run failed with exit status {status}; see its messages above.")
    return RunResult.load(summary)


def _run(
    folder: Path,
    workspace: Workspace,
    pool: SitePool,
    gpus: str | None,
    started: float,
    record: RunRecord | None = None,
    run_id: str | None = None,
) -> RunResult:
    # Here, and not before the fork server was started: it takes 50 ms, which that can use.
    from fedtrack_local.progress import Progress

    if record is None:
        _move_earlier_run(workspace)
        folder = _keep(folder, workspace)
        record = RunRecord(checked_run_id(run_id), str(folder.relative_to(workspace.root)), time_ns())
    job = load_job(folder)
    run = _run_info(job, workspace, record)
    workspace.create(record, [] if job.client_app else [site.name for site in job.sites])
    spool = Spool(
        workspace.server / "spool",
        durability=job.meta.durability,
        limit_bytes=job.meta.spool_limit,
        identity=SpoolIdentity(run.run_id, SERVER),
    )
    host = ReceiverHost(run, job.receivers)
    host.add_source(SpoolSource(SERVER, spool.folder, host.journal, run.blobs))
    names = [site.name for site in job.sites]
    roster = Roster(
        names,
        job.meta.min_clients,
        job.meta.mandatory_clients,
        lambda site, error: host.notify("fedtrack_site_failed", site=site, error=error),
    )
    agents: list[SiteAgent] = []
    exchange: Exchange
    if job.client_app is not None:
        exchange = start_workers(job, run, workspace, pool, host, roster, gpus)
    else:
        agents = start_sites(job, folder, run, workspace, pool, host, gpus)
        exchange = ScriptExchange(roster, job.meta.idle_timeout, workspace, pool, host.forwarder.end)
    server = LocalServer(job, run, workspace, roster, exchange, host, spool)
    outcome = Outcome()
    with Progress(job, server, host):
        _play(job, server, host, outcome)
        pool.end_sites()
        host.forwarder.end_all()
        spool.close()
        _finish(host, agents, outcome)
    result = summarize(job, server, host, workspace, outcome, perf_counter() - started)
    try:
        result.save()
    except WorkspaceError as error:  # the disk is full: what came of the run is shown all the same
        outcome.error = outcome.error or error
    host.close()
    host.notify("fedtrack_job_ended", status=outcome.status)
    print_summary(result)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.error is not None:
        raise outcome.error
    return result


def _play(job: LoadedJob, server: LocalServer, host: ReceiverHost, outcome: Outcome) -> None:
    host.start()
    server.notify("fedtrack_job_started")
    try:
        for workflow in job.workflows.values():
            executable(workflow).execute(server)
        server.dismiss()
        outcome.status = "completed"
    except KeyboardInterrupt:
        outcome.status, outcome.interrupted = "aborted", True
        outcome.error = JobError("The run was interrupted.")
    except FedtrackError as error:
        outcome.error = error
    except Exception as error:
        # A fault of ours or of a workflow: what was logged until now is delivered all the same.
        outcome.error = JobError(f"The run failed: {type(error).__name__}: {error}.", traceback.format_exc())


def _finish(host: ReceiverHost, agents: list[SiteAgent], outcome: Outcome) -> None:
    # A user who pressed Ctrl-C waits for seconds, not for a backend; the journal keeps what is left.
    stall_seconds = 1.0 if outcome.interrupted else STALL_SECONDS
    for agent in agents:
        agent.finish(outcome.status, stall_seconds)
    try:
        outcome.reports = host.finish(outcome.status, stall_seconds)
    except KeyboardInterrupt:
        outcome.interrupted = True
        outcome.reports = host.finish(outcome.status, 0.0)
    outcome.agents = {agent.site: agent.report() for agent in agents}


def _move_earlier_run(workspace: Workspace) -> None:
    earlier = workspace.move_earlier_run()
    if earlier is not None:
        log.info("the earlier run in this workspace is now in %s", earlier)


def _keep(folder: Path, workspace: Workspace) -> Path:
    """Copy the job into the workspace: a run is resumed from what ran, not from what was edited since."""
    folder = folder.resolve()
    if folder.is_relative_to(workspace.root.resolve()):
        return workspace.root / folder.relative_to(workspace.root.resolve())
    target = workspace.root / "job" / folder.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    return target


def _run_info(job: LoadedJob, workspace: Workspace, record: RunRecord) -> RunInfo:
    return RunInfo(
        run_id=record.run_id,
        job_name=job.meta.name,
        folder=workspace.server,
        node=SERVER,
        sites=tuple(site.name for site in job.sites),
        started_ns=record.started_ns,
        blobs=BlobStore(workspace.server / "blobs"),
    )


def _scripts(job: LoadedJob) -> list[tuple[str, Runner]]:
    one_of_each = {str(site.script): site.client_app or site.runner for site in job.sites}
    return list(one_of_each.items())


def _runners(job: FedJob) -> list[Runner]:
    items = [*job.to_every_site.values(), *(item for table in job.placed.values() for item in table.values())]
    return [item for item in items if isinstance(item, Runner)]
