"""ActiveRun: the parts of a run from its first process to its summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from fedtrack import RunInfo
from fedtrack.delivery import ReceiverHost, Supervisor
from fedtrack.job import LoadedJob
from fedtrack.runs import RunRecord, Workspace
from fedtrack.spool import Spool, SpoolIdentity
from fedtrack.tracking import SERVER, BlobStore
from fedtrack.transport import SpoolSource
from fedtrack.view import ViewOptions
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.roster import Roster
from fedtrack_local.scripts.site_agent import SiteAgent


@dataclass(eq=False)
class ActiveRun:
    """A run from its first process to its summary; ``begin_run`` makes one.

    Attributes:
        job: The job, read from the workspace.
        info: The run, for receivers and hooks.
        workspace: The workspace of the run, locked.
        pool: The processes of the sites.
        gpus: GPU ids for the sites, see ``gpus.gpu_groups``; None leaves every GPU to every site.
        spool: The spool for the server's own records.
        host: The journal and the server's receivers.
        roster: The living and the failed sites.
        started: The time of the user's request, by ``perf_counter``.
        agents: The processes of the sites' own receivers.
    """

    job: LoadedJob
    info: RunInfo
    workspace: Workspace
    pool: SitePool
    gpus: str | None
    spool: Spool
    host: ReceiverHost
    roster: Roster
    started: float
    agents: list[SiteAgent] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The seconds since the start of the run."""
        return perf_counter() - self.started

    def waiting(self) -> list[str]:
        """Return the receivers for which the end of the run waits, and what each of them is doing."""
        own = [f"{id_} ({what})" for id_, what in self.host.waiting().items()]
        return own + [f"the receivers of {agent.site}" for agent in self.agents if agent.is_waited_for]


def begin_run(
    job: LoadedJob,
    record: RunRecord,
    workspace: Workspace,
    pool: SitePool,
    supervisor: Supervisor,
    gpus: str | None,
    started: float,
) -> ActiveRun:
    """Create the folders of a run, open its journal and build its receivers; no site is started yet.

    Args:
        job: The job, read from the workspace.
        record: The run's identity.
        workspace: The workspace of the run.
        pool: The processes of the sites.
        supervisor: The processes of the server's receivers.
        gpus: See ``ActiveRun``.
        started: See ``ActiveRun``.
    """
    names = [site.name for site in job.sites]
    workspace.create(record, [] if job.client_app else names)
    pool.log = workspace.server / "fork_server_log.txt"
    blobs = BlobStore(workspace.server / "blobs")
    info = RunInfo(
        run_id=record.run_id,
        job_name=job.meta.name,
        folder=workspace.server,
        node=SERVER,
        sites=tuple(names),
        started_ns=record.started_ns,
        blobs=blobs,
        facts=job.facts,
    )
    spool = Spool(
        workspace.server / "spool",
        durability=job.meta.durability,
        limit_bytes=job.meta.spool_limit,
        identity=SpoolIdentity(record.run_id, SERVER),
    )
    host = ReceiverHost(info, job.receivers, supervisor, ViewOptions(job.meta.view))
    host.add_source(SpoolSource(SERVER, spool.folder, host.journal, blobs))
    roster = Roster(
        names,
        job.meta.min_clients,
        job.meta.mandatory_clients,
        lambda site, error: host.notify("fedtrack_site_failed", site=site, error=error),
    )
    return ActiveRun(job, info, workspace, pool, gpus, spool, host, roster, started)
