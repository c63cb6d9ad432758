"""Summary: the end of a run and the counts of its log calls."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from time import time_ns

from fedtrack.delivery import LEDGER_FILE, Ledger, ReceiverTally
from fedtrack.errors import FedtrackError
from fedtrack.job import LoadedSite
from fedtrack.journal import Journal
from fedtrack.runs import CountedSite, Goodbye, RunResult, Tally, take_tally
from fedtrack.runs.worker_folders import spool_of, worker_folders, worker_name
from fedtrack.tracking import SERVER
from fedtrack.transport import Guard
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.scripts.site_agent import AgentReport
from fedtrack_local.server import LocalServer
from fedtrack_local.workflows.cross_site_results import CrossSiteResults
from fedtrack_local.workflows.round_metrics import finite, summary_of


@dataclass
class Outcome:
    """The end of a run.

    Attributes:
        status: ``completed``, ``failed`` or ``aborted``.
        error: Why it is not completed, or None.
        interrupted: Whether the user ended it.
        reports: The results of delivery to the server's receivers.
        agents: The results of delivery to each site's own receivers.
    """

    status: str = "failed"
    error: FedtrackError | None = None
    interrupted: bool = False
    reports: list[ReceiverTally] = field(default_factory=list)
    agents: dict[str, AgentReport] = field(default_factory=dict)


def summarize(run: ActiveRun, server: LocalServer, outcome: Outcome) -> RunResult:
    """Collect the result of a run, after the delivery of its events."""
    tally = _tally(run, server, outcome)
    tables = {id_: _finite_results(table) for id_, table in server.cross_site_tables.items() if table}
    return RunResult(
        run_id=run.info.run_id,
        job_name=run.info.job_name,
        status=outcome.status,
        error=str(outcome.error) if outcome.error else "",
        workspace=run.workspace.root,
        folder=run.workspace.server,
        seconds=run.seconds,
        rounds=[summary_of(result) for result in server.rounds],
        final_metrics=finite(server.final_metrics),
        best_round=server.selector.best_round if server.selector else None,
        sites=tally.sites,
        receivers=tally.receivers,
        gaps=tally.gaps,
        waiting=tally.waiting,
        counted_ns=time_ns(),
        policies={name: one.shown for name in run.roster.names if (one := run.terms.of(name)) is not None},
        cross_site=next(reversed(tables.values()), {}),
        cross_site_tables=tables,
        key_metric=server.selector.key_metric if server.selector else "",
    )


def _finite_results(results: CrossSiteResults) -> dict[str, dict[str, dict[str, float | None]]]:
    return {site: {owner: finite(found) for owner, found in models.items()} for site, models in results.items()}


def _tally(run: ActiveRun, server: LocalServer, outcome: Outcome) -> Tally:
    with ExitStack() as stack:
        stores = {SERVER: (run.host.journal, run.host.ledger)}
        for site in run.job.sites:
            path = server.folder_of(site.name) / "journal.db"
            if site.receivers and path.exists():
                journal = Journal(path, read_only=True)
                stack.callback(journal.close)
                ledger = Ledger(path.with_name(LEDGER_FILE), journal, read_only=True)
                stack.callback(ledger.close)
                stores[site.name] = journal, ledger
        sites = [_counted(run, server, site, site.name if site.name in stores else "") for site in run.job.sites]
        own = CountedSite(SERVER, server.folder_of(SERVER) / "spool", server.goodbye(SERVER))
        agents = [receiver for agent in outcome.agents.values() for receiver in agent.receivers]
        return take_tally(
            stores,
            [*sites, own],
            [*outcome.reports, *agents],
            waiting=run.host.forwarder.errors,
            workers={worker_name(folder): spool_of(folder) for folder in worker_folders(run.workspace.workers)},
        )


def _without_refused(goodbye: Goodbye | None, guard: Guard | None) -> Goodbye | None:
    """Return a goodbye without the records that the guard has refused: they are withheld, and not logged."""
    if goodbye is None or guard is None:
        return goodbye
    refused = sum(guard.refused(stream) for stream in goodbye.streams or ())
    return goodbye._replace(stored=goodbye.stored - refused)


def _counted(run: ActiveRun, server: LocalServer, site: LoadedSite, home: str) -> CountedSite:
    return CountedSite(
        name=site.name,
        spool=None if run.job.client_app else server.folder_of(site.name) / "spool",
        goodbye=_without_refused(server.goodbye(site.name), run.guards.get(site.name)),
        streams_to_server=site.streams_to_server,
        node=SERVER if site.streams_to_server else home,
        error=str(server.failed.get(site.name, "")),
    )
