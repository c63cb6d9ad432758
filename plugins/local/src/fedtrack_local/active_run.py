"""ActiveRun: the parts of a run from its first process to its summary."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from time import perf_counter

from fedtrack import RunInfo
from fedtrack.delivery import ReceiverHost, Supervisor
from fedtrack.job import LoadedJob
from fedtrack.policy import RunTerms
from fedtrack.runs import RunRecord, Workspace
from fedtrack.spool import Spool, SpoolIdentity
from fedtrack.tracking import SERVER, BlobStore
from fedtrack.transport import Guard, SpoolSource
from fedtrack.view import ViewOptions
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.roster import Roster
from fedtrack_local.scripts.site_agent import SiteAgent

log = logging.getLogger(__name__)


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
        terms: What the records of the sites are released under.
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
    terms: RunTerms = field(default_factory=RunTerms)
    guards: dict[str, Guard | None] = field(default_factory=dict)

    def guard(self, site: str) -> Guard | None:
        """Return the guard of a site, the same one each time; None if its records need no look.

        Raises:
            FedtrackError: The site's key, or its log, cannot be used.
        """
        if site not in self.guards:
            terms = self.terms.of(site)
            self.guards[site] = Guard.open(site, self.info.run_id, self.workspace.site(site), terms)
        return self.guards[site]

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
    terms = RunTerms.find(names, job=job.meta.policy, workspace=workspace.root).kept(workspace.server)
    _say(terms)
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
        facts=job.facts | _policy_facts(terms),
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
    return ActiveRun(job, info, workspace, pool, gpus, spool, host, roster, started, terms=terms)


def _policy_facts(terms: RunTerms) -> dict[str, str | int]:
    """Return what the tags of a run say of the policies of its sites."""
    found = sorted({one.shown for one in (terms.common, *terms.own.values()) if one is not None})
    return {"policy": "; ".join(found)[:1000]} if found else {}


def _say(terms: RunTerms) -> None:
    """Say what the user must know of the policies: that one cannot be used, or is in the job's own hands."""
    every = {"every site": terms.common} if terms.common else terms.own
    for site, one in every.items():
        if one.problem:
            log.error("%s: nothing that it logs is released: %s", site, one.problem)
        elif one.changeable:
            log.info("%s: the policy %s belongs to the user of the job, who can change it", site, one.path)
