"""Counts what became of every event of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from fedtrack.delivery.report import DeliveryReport
from fedtrack.errors import FedtrackError
from fedtrack.journal.journal import Journal
from fedtrack.runs.result import ReceiverSummary, RoundSummary, RunResult, SiteSummary, receiver_summary
from fedtrack.spool import frames
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import Gap, Rejected, decode
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.scripts.site_agent import AgentReport
from fedtrack_local.server import LocalServer
from fedtrack_local.workflows.cross_site_results import CrossSiteResults


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
    reports: list[DeliveryReport] = field(default_factory=list)
    agents: dict[str, AgentReport] = field(default_factory=dict)


def summarize(run: ActiveRun, server: LocalServer, outcome: Outcome) -> RunResult:
    """Collect what came of a run whose events are delivered as far as they could be."""
    return RunResult(
        run_id=run.info.run_id,
        job_name=run.info.job_name,
        status=outcome.status,
        error=str(outcome.error) if outcome.error else "",
        workspace=run.workspace.root,
        folder=run.workspace.server,
        seconds=run.seconds,
        rounds=[
            RoundSummary(r.current_round, _finite(r.metrics), list(r.sites), r.seconds, r.size) for r in server.rounds
        ],
        final_metrics=_finite(server.final_metrics),
        best_round=server.selector.best_round if server.selector else None,
        sites=_sites(run, server, outcome),
        receivers=_receivers(outcome),
        gaps=[(gap.site, gap.reason) for gap in run.host.gaps()],
        waiting=run.host.forwarder.errors,
        cross_site=_finite_results(server.cross_site),
        key_metric=server.selector.key_metric if server.selector else "",
    )


def _finite_results(results: CrossSiteResults) -> dict[str, dict[str, dict[str, float | None]]]:
    return {site: {owner: _finite(found) for owner, found in models.items()} for site, models in results.items()}


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return ``metrics`` as JSON can hold them."""
    return {name: value if isfinite(value) else None for name, value in metrics.items()}


def _receivers(outcome: Outcome) -> dict[str, ReceiverSummary]:
    found = {report.name: receiver_summary(report, SERVER) for report in outcome.reports}
    for site, agent in outcome.agents.items():
        found |= {f"{site}/{id_}": summary for id_, summary in agent.receivers.items()}
    return found


def _sites(run: ActiveRun, server: LocalServer, outcome: Outcome) -> dict[str, SiteSummary]:
    journal = run.host.journal
    journaled = journal.counts()
    rejected, dropped = _refused(journal)
    found: dict[str, SiteSummary] = {}
    for site in run.job.sites:
        agent = outcome.agents.get(site.name)
        at_home = agent.journaled if agent else 0
        streams = journal.counts_of(site.name) if site.streams_to_server else _at_home(server, site.name)
        own_count = server.dropped(site.name)
        found[site.name] = SiteSummary(
            logged=server.logged(site.name, streams),
            journaled=journaled.get(site.name, 0) if site.streams_to_server else at_home,
            dropped=dropped[site.name] if own_count is None else own_count,
            rejected=rejected[site.name],
            streams_to_server=site.streams_to_server,
            error=str(server.failed.get(site.name, "")),
        )
    own = journaled.get(SERVER, 0)
    logged = server.logged(SERVER, journal.counts_of(SERVER))
    found[SERVER] = SiteSummary(logged=logged, journaled=own, rejected=rejected[SERVER])
    return found


def _at_home(server: LocalServer, site: str) -> dict[str, int]:
    path = server.journal_of(site)
    if not path.exists():
        return {}
    journal = Journal(path, read_only=True)
    try:
        return journal.counts_of(site)
    finally:
        journal.close()


def _refused(journal: Journal) -> tuple[Counter[str], Counter[str]]:
    """Count the log calls that became no record, by site: (rejected values, no room)."""
    rejected: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    after = 0
    while batches := journal.read(after):
        for batch in batches:
            for _, payload in frames.split(batch.body):
                if payload[1] in (8, 9):
                    record = decode(payload)
                    if isinstance(record, Rejected):
                        rejected[batch.site] += 1
                    elif isinstance(record, Gap):
                        dropped[batch.site] += record.count
            after = batch.id
    return rejected, dropped
