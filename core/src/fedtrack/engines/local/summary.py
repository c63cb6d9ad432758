"""The end of a run: counts what became of every event, and says so in a page that fits a terminal."""

from __future__ import annotations

from collections import Counter
from time import perf_counter

from rich.console import Console
from rich.table import Table

from fedtrack.engines.local.host import ReceiverHost
from fedtrack.engines.local.server import LocalServer
from fedtrack.engines.local.workspace import Workspace
from fedtrack.errors import FedtrackError
from fedtrack.job.load import LoadedJob
from fedtrack.job.run_result import ReceiverSummary, RoundSummary, RunResult, SiteSummary
from fedtrack.tracking import frames
from fedtrack.tracking.delivery import DeliveryReport
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.records import Gap, Rejected, decode


def summarize(
    job: LoadedJob,
    server: LocalServer,
    host: ReceiverHost,
    reports: list[DeliveryReport],
    workspace: Workspace,
    status: str,
    error: FedtrackError | None,
    started: float,
) -> RunResult:
    """Collect what came of a run."""
    return RunResult(
        run_id=host.run.run_id,
        job_name=job.meta.name,
        status=status,
        error=str(error) if error else "",
        workspace=workspace.root,
        folder=workspace.server,
        seconds=perf_counter() - started,
        rounds=[RoundSummary(r.current_round, r.metrics, list(r.sites), r.seconds, r.size) for r in server.rounds],
        final_metrics=server.final_metrics,
        best_round=server.selector.best_round if server.selector else None,
        sites=_sites(job, server, host.journal),
        receivers={report.name: _receiver(report) for report in reports},
        gaps=[(site, reason) for site, _, _, reason in host.journal.gaps()],
    )


def _sites(job: LoadedJob, server: LocalServer, journal: Journal) -> dict[str, SiteSummary]:
    journaled = journal.counts()
    rejected, dropped = _refused(journal)
    found: dict[str, SiteSummary] = {}
    for site in job.sites:
        left = server.left.get(site.name)
        found[site.name] = SiteSummary(
            logged=left.logged if left else None,
            journaled=journaled.get(site.name, 0),
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


def _receiver(report: DeliveryReport) -> ReceiverSummary:
    results = report.results
    return ReceiverSummary(
        receiver=report.receiver,
        node=SERVER,
        delivered=report.delivered,
        skipped=report.skipped,
        dead=report.dead,
        pending=report.pending,
        error=report.error,
        location=results.location if results else "",
        command=results.command if results else "",
    )


def print_summary(result: RunResult) -> None:
    """Print the page."""
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    console.print(f"{result.job_name}: {result.status} in {result.seconds:.1f} s", markup=False, style="bold")
    if result.rounds:
        console.print(_rounds_table(result))
    console.print(_events_table(result))
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


def _events_table(result: RunResult) -> Table:
    table = Table(title="Events", title_justify="left")
    for column in ("site", "logged", "journaled"):
        table.add_column(column, justify="left" if column == "site" else "right")
    for name, site in result.sites.items():
        logged = "?" if site.logged is None else f"{site.logged:,}"
        table.add_row(name, logged, f"{site.journaled:,}" if site.streams_to_server else "stay at the site")
    journaled = sum(site.journaled for site in result.sites.values())
    logged_total = [site.logged for site in result.sites.values()]
    total = "?" if None in logged_total else f"{sum(n or 0 for n in logged_total):,}"
    table.add_section()
    table.add_row("all", total, f"{journaled:,}")
    for name, receiver in result.receivers.items():
        table.add_row(f"delivered to {receiver.receiver} ({name})", "", f"{receiver.delivered:,}")
    return table


def _remarks(result: RunResult) -> list[str]:
    lines = []
    for name, site in result.sites.items():
        if site.error:
            lines.append(f"Failed:      {site.error}")
        if site.logged is None:
            lines.append(
                f"Note:        {name} died before it could count its log calls; all that returned are in the journal."
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
