"""The end of a run: counts what became of every event, and says so in a page that fits a terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from fedtrack.engines.local.host import ReceiverHost
from fedtrack.engines.local.server import LocalServer
from fedtrack.engines.local.site_agent import AgentReport, receiver_summary
from fedtrack.engines.local.workspace import Workspace
from fedtrack.errors import FedtrackError
from fedtrack.job.load import LoadedJob
from fedtrack.job.run_result import ReceiverSummary, RoundSummary, RunResult, SiteSummary
from fedtrack.tracking import frames
from fedtrack.tracking.delivery import DeliveryReport
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.records import Gap, Rejected, decode


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


def summarize(
    job: LoadedJob, server: LocalServer, host: ReceiverHost, workspace: Workspace, outcome: Outcome, seconds: float
) -> RunResult:
    """Collect what came of a run."""
    return RunResult(
        run_id=host.run.run_id,
        job_name=job.meta.name,
        status=outcome.status,
        error=str(outcome.error) if outcome.error else "",
        workspace=workspace.root,
        folder=workspace.server,
        seconds=seconds,
        rounds=[RoundSummary(r.current_round, r.metrics, list(r.sites), r.seconds, r.size) for r in server.rounds],
        final_metrics=server.final_metrics,
        best_round=server.selector.best_round if server.selector else None,
        sites=_sites(job, server, host.journal, outcome),
        receivers=_receivers(outcome),
        gaps=[(site, reason) for site, _, _, reason in host.journal.gaps()],
    )


def _receivers(outcome: Outcome) -> dict[str, ReceiverSummary]:
    found = {report.name: receiver_summary(report, SERVER) for report in outcome.reports}
    for site, agent in outcome.agents.items():
        found |= {f"{site}/{id_}": summary for id_, summary in agent.receivers.items()}
    return found


def _sites(job: LoadedJob, server: LocalServer, journal: Journal, outcome: Outcome) -> dict[str, SiteSummary]:
    journaled = journal.counts()
    rejected, dropped = _refused(journal)
    found: dict[str, SiteSummary] = {}
    for site in job.sites:
        left, agent = server.left.get(site.name), outcome.agents.get(site.name)
        at_home = agent.journaled if agent else 0
        found[site.name] = SiteSummary(
            logged=left.logged if left else None,
            journaled=journaled.get(site.name, 0) if site.streams_to_server else at_home,
            dropped=left.dropped if left else dropped[site.name],
            rejected=rejected[site.name],
            streams_to_server=site.streams_to_server,
            error=str(server.failed.get(site.name, "")),
        )
    own = journaled.get(SERVER, 0)
    found[SERVER] = SiteSummary(logged=server.logged, journaled=own, rejected=rejected[SERVER])
    return found


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


def print_summary(result: RunResult) -> None:
    """Print the page."""
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    console.print(f"{result.job_name}: {result.status} in {result.seconds:.1f} s", markup=False, style="bold")
    if result.rounds:
        console.print(_rounds_table(result))
    console.print(_sites_table(result))
    if result.receivers:
        console.print(_receivers_table(result))
    for line in _remarks(result):
        console.print(line, markup=False)
    console.print(f"Results:     {result.folder}", markup=False)
    for receiver in result.receivers.values():
        if receiver.command:
            console.print(f"{receiver.receiver + ':':<12} {receiver.command}", markup=False)


def _rounds_table(result: RunResult) -> Table:
    names = sorted({name for r in result.rounds for name in r.metrics} | set(result.final_metrics))
    table = Table(title="Global model, scored by the sites", title_justify="left")
    table.add_column("after round", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("seconds", justify="right")
    # The metrics that come with round r's results score the model that entered it.
    for index, item in enumerate(result.rounds):
        label = "initial" if item.current_round == 0 else str(item.current_round)
        seconds = f"{result.rounds[index - 1].seconds:.1f}" if index else ""
        table.add_row(label, *(_number(item.metrics.get(name)) for name in names), seconds)
    last = result.rounds[-1]
    row = [_number(result.final_metrics.get(name)) for name in names]
    table.add_row(str(last.current_round + 1), *row, f"{last.seconds:.1f}")
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _sites_table(result: RunResult) -> Table:
    table = Table(title="Events", title_justify="left")
    table.add_column("site")
    table.add_column("logged", justify="right")
    table.add_column("journaled", justify="right")
    for name, site in result.sites.items():
        stays = "" if site.streams_to_server else " (stay there)"
        table.add_row(name + stays, "?" if site.logged is None else f"{site.logged:,}", f"{site.journaled:,}")
    return table


def _receivers_table(result: RunResult) -> Table:
    table = Table(title="Receivers", title_justify="left")
    table.add_column("receiver")
    table.add_column("component")
    table.add_column("delivered", justify="right")
    table.add_column("of", justify="right")
    for name, receiver in result.receivers.items():
        addressed = receiver.delivered + sum(receiver.skipped.values()) + receiver.dead + receiver.pending
        table.add_row(receiver.receiver, name, f"{receiver.delivered:,}", f"{addressed:,}")
    return table


def _remarks(result: RunResult) -> list[str]:
    lines = []
    for name, site in result.sites.items():
        if site.error:
            lines.append(f"Failed:      {site.error}")
        if site.logged is None:
            lines.append(
                f"Note:        {name} died before it could count its log calls; those that returned are in the journal."
            )
        if site.dropped:
            lines.append(f"Lost:        {name}: {site.dropped:,} log calls found no room on the disk.")
        if site.rejected:
            lines.append(
                f"Rejected:    {name}: {site.rejected:,} log calls had a value that no record can hold; see log.txt."
            )
    lines += [f"Lost:        {site}: {reason}" for site, reason in result.gaps]
    for name, receiver in result.receivers.items():
        skipped = ", ".join(f"{count:,} {kind}" for kind, count in sorted(receiver.skipped.items()))
        if skipped:
            lines.append(f"Not held:    {name}: {receiver.receiver} cannot hold {skipped}.")
        if receiver.dead:
            lines.append(
                f"Refused:     {name}: {receiver.receiver} refused {receiver.dead:,} events; they are in the journal."
            )
        if receiver.pending:
            reason = receiver.error or "it was too slow"
            lines.append(
                f"Pending:     {name}: {receiver.pending:,} events are not delivered, but kept in the journal: {reason}"
            )
        elif receiver.error:
            lines.append(f"Note:        {name}: {receiver.error}")
    return lines
