"""Starts what a run consists of: the imports that all sites share, the sites' processes, or those of the workers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from pathlib import Path

from fedtrack.delivery.host import ReceiverHost
from fedtrack.job.components import Runner, ScriptRunner
from fedtrack.job.find_file import find_file
from fedtrack.job.load import LoadedJob
from fedtrack.job.local_modules import third_party_modules
from fedtrack.journal.journal import Journal
from fedtrack.runs.worker_folders import worker_folders, worker_name, worker_source
from fedtrack.runs.workspace import Workspace
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.transport.spool_source import SpoolSource
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.roster import Roster
from fedtrack_local.scripts.site_agent import SiteAgent, agent_spec
from fedtrack_local.scripts.site_spec import site_spec
from fedtrack_local.workers.worker_exchange import WorkerExchange, worker_count
from fedtrack_local.workers.worker_spec import worker_spec

log = logging.getLogger(__name__)

#: What a training script imports that is safe to have been imported before a fork.
_PRELOADABLE = ("torch", "torchvision", "numpy", "sklearn", "scipy", "pandas", "fedtrack_examples")


def prepare(receivers: Iterable[Receiver]) -> None:
    """Let receivers import their SDKs while the fork server imports what the scripts need, on another core."""

    def work() -> None:
        for receiver in receivers:
            try:
                receiver.prepare()
            except Exception as error:
                log.info("%s could not prepare: %s", type(receiver).__name__, error)

    threading.Thread(target=work, name="prepare", daemon=True).start()


def preload(pool: SitePool, scripts: Iterable[tuple[str, Runner]]) -> None:
    """Let the fork server import what the scripts will, as far as that survives a fork.

    Args:
        pool: Whose fork server.
        scripts: The path of each training script, and how it is run.

    Raises:
        ConfigError: A script is missing.
    """
    modules: set[str] = set()
    for script, runner in scripts:
        path = find_file(script, "The training script")
        if isinstance(runner, ScriptRunner) and runner.launch_external_process:
            continue  # it replaces the fork, with all that was imported before
        modules |= set(third_party_modules(path))
        if runner.framework == "pytorch":
            modules.add("torch")  # also where only a library of the user's imports it
    pool.preload(name for name in _PRELOADABLE if name in modules)


def start_sites(
    job: LoadedJob,
    folder: Path,
    run: RunInfo,
    workspace: Workspace,
    pool: SitePool,
    host: ReceiverHost,
    gpus: str | None,
) -> list[SiteAgent]:
    """Start a process for each site, and return those of the sites' own receivers."""
    agents: list[SiteAgent] = []
    for site in job.sites:
        pool.start(site_spec(site, job, run, workspace, gpus))
        if site.receivers:
            spec = agent_spec(site.name, folder, workspace.root, run, deletes=not site.streams_to_server)
            agents.append(SiteAgent(spec, {id_: item.name for id_, item in site.receivers.items()}))
        if site.streams_to_server:
            own = Journal(workspace.site(site.name) / "journal.db") if site.receivers else None
            spool_folder = workspace.site(site.name) / "spool"
            host.add_source(SpoolSource(site.name, spool_folder, host.journal, run.blobs, other=own))
    return agents


def start_workers(
    job: LoadedJob,
    run: RunInfo,
    workspace: Workspace,
    pool: SitePool,
    host: ReceiverHost,
    roster: Roster,
    gpus: str | None,
) -> WorkerExchange:
    """Start the processes that work for all sites, and read what earlier ones of a resumed run have left."""
    runner = job.client_app
    assert runner is not None  # noqa: S101 - narrows the type
    streams = job.sites[0].streams_to_server
    count = worker_count(runner.workers, len(job.sites))

    def add_source(folder: Path) -> None:
        if streams:
            host.add_source(worker_source(folder, host.journal, run.blobs, roster.names))

    for folder in worker_folders(workspace.workers):
        add_source(folder)
        host.forwarder.end(worker_name(folder))
    return WorkerExchange(
        roster,
        job.meta.idle_timeout,
        workspace,
        pool,
        lambda: worker_spec(count, runner, job, run, workspace, gpus),
        lambda spec: add_source(Path(spec.spool).parent),
        host.forwarder.end,
        count,
    )
