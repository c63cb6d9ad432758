"""Starting: the shared imports of a run, and the processes of its sites or of the workers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedtrack import ClientAppRunner, ScriptRunner
from fedtrack.job import Runner, find_file, third_party_modules
from fedtrack.journal import Journal
from fedtrack.plugins import registry
from fedtrack.runs.worker_folders import worker_folders, worker_name, worker_source
from fedtrack.seals import signs
from fedtrack.transport import SpoolSource
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.scripts.site_agent import SiteAgent, agent_spec
from fedtrack_local.scripts.site_spec import site_spec
from fedtrack_local.workers.worker_exchange import WorkerExchange, worker_count
from fedtrack_local.workers.worker_spec import worker_spec

#: Heavy libraries that can safely be imported before a fork.
_HEAVY = ("torch", "torchvision", "numpy", "sklearn", "scipy", "pandas")


def preload(pool: SitePool, scripts: Iterable[tuple[str, Runner]]) -> None:
    """Let the fork server import the scripts' modules, except those that may not survive a fork.

    Some libraries are known to survive it. The packages of installed plugins do, too: every listing of plugins imports
    them, so they must be light and without side effects.

    Args:
        pool: The pool of the fork server.
        scripts: The path of each training script, and the settings of its process.

    Raises:
        ConfigError: A script is missing.
    """
    modules: set[str] = set()
    for script, runner in scripts:
        path = find_file(script, "The training script")
        if isinstance(runner, ScriptRunner) and runner.launch_external_process:
            continue  # its process is not a fork, so it has none of the shared imports
        modules |= set(third_party_modules(path))
        if runner.framework == "pytorch":
            modules.add("torch")  # also if only a library of the user imports it
    pool.preload(name for name in (*_HEAVY, *sorted(registry().packages())) if name in modules)


def start_sites(run: ActiveRun) -> None:
    """Start a process for each site, and one for the site's own receivers if it has any."""
    for site in run.job.sites:
        folder, crosses = run.workspace.site(site.name), site.streams_to_server
        run.pool.start(site_spec(site, run))
        if site.receivers:
            spec = agent_spec(site.name, run.job.folder, run.workspace.base, run.info, deletes=not crosses)
            run.agents.append(SiteAgent(spec, {id_: item.name for id_, item in site.receivers.items()}))
        if crosses:
            own = Journal(folder / "journal.db") if site.receivers else None
            guard = run.guard(site.name)
            run.host.add_source(
                SpoolSource(site.name, folder / "spool", run.host.journal, run.info.blobs, other=own, guard=guard)
            )


def start_workers(run: ActiveRun, runner: ClientAppRunner) -> WorkerExchange:
    """Start the workers, and forward the spools that earlier workers of a resumed run have left."""
    host, streams = run.host, run.job.sites[0].streams_to_server
    count = worker_count(runner.workers, len(run.job.sites))

    def add_source(folder: Path) -> None:
        if streams:
            guards = run.guard if run.terms or signs() else None
            host.add_source(worker_source(folder, host.journal, run.info.blobs, run.roster.names, guards))

    for folder in worker_folders(run.workspace.workers):
        add_source(folder)
        host.forwarder.end(worker_name(folder))
    return WorkerExchange(
        run.roster,
        run.job.meta.idle_timeout,
        run.workspace,
        run.pool,
        lambda: worker_spec(count, runner, run),
        lambda spec: add_source(Path(spec.spool).parent),
        host.forwarder.end,
        count,
    )
