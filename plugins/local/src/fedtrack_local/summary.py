"""The summary of a run: how it ended, and what became of every log call."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec

from fedtrack.delivery.host import ReceiverHost
from fedtrack.delivery.report import ReceiverTally
from fedtrack.errors import FedtrackError
from fedtrack.job.load import LoadedJob, LoadedSite
from fedtrack.journal.journal import Journal
from fedtrack.runs.result import RunResult
from fedtrack.runs.tally import CountedSite, Tally, take_tally
from fedtrack.runs.workspace import Workspace
from fedtrack.tracking.events import SERVER
from fedtrack_local.scripts.site_agent import AgentReport
from fedtrack_local.server import LocalServer
from fedtrack_local.workflows.cross_site_results import CrossSiteResults
from fedtrack_local.workflows.round_metrics import finite


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        status: ``completed``, ``failed`` or ``aborted``.
        error: Why it is not completed, or None.
        interrupted: Whether the user ended it.
        reports: What became of the server's receivers.
        agents: What became of each site's own receivers.
    """

    status: str = "failed"
    error: FedtrackError | None = None
    interrupted: bool = False
    reports: list[ReceiverTally] = field(default_factory=list)
    agents: dict[str, AgentReport] = field(default_factory=dict)


def summarize(
    job: LoadedJob, server: LocalServer, host: ReceiverHost, workspace: Workspace, outcome: Outcome, seconds: float
) -> RunResult:
    """Collect what came of a run."""
    tally = _tally(job, server, host, outcome)
    return RunResult(
        run_id=host.run.run_id,
        job_name=job.meta.name,
        status=outcome.status,
        error=str(outcome.error) if outcome.error else "",
        workspace=workspace.root,
        folder=workspace.server,
        seconds=seconds,
        rounds=[msgspec.structs.replace(item, metrics=finite(item.metrics)) for item in server.rounds],
        final_metrics=finite(server.final_metrics),
        best_round=server.selector.best_round if server.selector else None,
        sites=tally.sites,
        receivers=tally.receivers,
        gaps=tally.gaps,
        waiting=tally.waiting,
        cross_site=_finite_results(server.cross_site),
        key_metric=server.selector.key_metric if server.selector else "",
    )


def _finite_results(results: CrossSiteResults) -> dict[str, dict[str, dict[str, float | None]]]:
    return {site: {owner: finite(found) for owner, found in models.items()} for site, models in results.items()}


def _tally(job: LoadedJob, server: LocalServer, host: ReceiverHost, outcome: Outcome) -> Tally:
    with ExitStack() as stack:
        journals = {SERVER: host.journal}
        for site in job.sites:
            path = server.folder_of(site.name) / "journal.db"
            if site.receivers and path.exists():
                journals[site.name] = Journal(path)
                stack.callback(journals[site.name].close)
        sites = [_counted(job, server, site, site.name if site.name in journals else "") for site in job.sites]
        own = CountedSite(SERVER, server.folder_of(SERVER) / "spool", server.goodbye(SERVER))
        agents = [receiver for agent in outcome.agents.values() for receiver in agent.receivers]
        return take_tally(journals, [*sites, own], [*outcome.reports, *agents], waiting=host.forwarder.errors)


def _counted(job: LoadedJob, server: LocalServer, site: LoadedSite, home: str) -> CountedSite:
    return CountedSite(
        name=site.name,
        spool=None if job.client_app else server.folder_of(site.name) / "spool",
        goodbye=server.goodbye(site.name),
        streams_to_server=site.streams_to_server,
        node=SERVER if site.streams_to_server else home,
        error=str(server.failed.get(site.name, "")),
    )
