"""``fedtrack runs list|show|replay|verify|salvage|prune``: the results of a workspace's runs, and the work on them."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtrack.cli.table import AsJson
from fedtrack.cli.table import show as show_rows
from fedtrack.output import echo, keep_output

if TYPE_CHECKING:
    from fedtrack.runs.run_state import RunView
    from fedtrack.runs.stored_run import StoredRun
    from fedtrack.runs.tally import Tally

#: The most sites, or counts, that are listed one by one.
_MOST_ROWS = 100

#: Without a name: its commands are those of ``fedtrack runs``.
app = typer.Typer()

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="A workspace, or its folder runs/<number> for a run before the last.")
]
Patience = Annotated[float, typer.Option(help="Seconds without progress after which a receiver is left behind.")]


@app.command("list")
def list_runs(workspace: Annotated[Path, typer.Argument(help="A workspace.")], as_json: AsJson = False) -> None:
    """List the runs of a workspace: the last one, then earlier ones."""
    from fedtrack.errors import WorkspaceError
    from fedtrack.runs.stored_run import find_runs

    if not workspace.is_dir():
        raise WorkspaceError(f"{workspace} is no folder, so it holds no runs; give a workspace.")
    rows = [_row(run) for run in find_runs(workspace.absolute())]
    show_rows(rows, ("run", "job", "started", "status", "round", "sites", "events", "folder"), as_json=as_json)


def _row(run: StoredRun) -> dict[str, str]:
    from datetime import datetime

    from fedtrack.runs.run_state import view

    record, found = run.record, view(run)
    started = datetime.fromtimestamp(record.started_ns // 10**9).isoformat(" ") if record else ""
    row = {"run": record.run_id if record else "", "job": found.job_name, "started": started, "status": found.state}
    progress = found.progress
    row["round"] = progress.rounds_text if progress else ""
    row["sites"] = f"{progress.up}/{progress.sites}" if progress else ""
    row["events"] = "?" if found.events is None else f"{found.events:,}"
    return row | {"folder": str(run.kept)}


@app.command()
def show(run: Run, as_json: AsJson = False) -> None:
    """Show a run: its events at each stage and receiver, losses and refusals."""
    from fedtrack.runs.run_state import view
    from fedtrack.runs.stored_run import find_run
    from fedtrack.runs.stored_tally import logs_still, tally_of
    from fedtrack.runs.traceback_logs import traceback_logs

    stored = find_run(run)
    found = view(stored)
    tally = tally_of(stored)
    if as_json:
        echo(json.dumps(_as_json(found, tally), indent=2))
        return
    detail = "; ".join(part for part in (found.detail, found.remedy) if part)
    echo(f"{found.job_name or 'run'}: {found.state}{': ' if detail else ''}{detail}")
    if found.progress and found.goes_on:
        for reason in found.progress.failed.values():
            echo(f"failed: {reason}")
    _show_tally(tally, live=found.goes_on)
    for log in traceback_logs(stored.kept, tally.receivers.values()):
        echo(f"tracebacks: {log}")
    for name, site in tally.sites.items():
        if site.in_spool and not found.goes_on and logs_still(stored, name):
            echo(f"still logs: {name}: a process of the site is alive and has outlived the run")
    if found.goes_on:
        echo("events: the run goes on; these are its counts at this moment")
    else:
        echo("events: complete" if tally.complete else "events: incomplete")


def _as_json(found: RunView, tally: Tally) -> dict[str, Any]:
    import msgspec

    shown: dict[str, Any] = msgspec.to_builtins(tally)
    for label, receiver in tally.receivers.items():  # a number, as before the counts by kind
        shown["receivers"][label] |= {"skipped": receiver.not_supported, "skipped_by_kind": receiver.skipped}
    shown |= {"state": found.state.value, "detail": found.detail, "progress": msgspec.to_builtins(found.progress)}
    # Of a run that goes on it is not known yet, and never true.
    return shown | {"complete": tally.complete and not found.goes_on, "events_complete": tally.events_complete}


@app.command()
def replay(
    run: Run,
    receiver: Annotated[
        str | None, typer.Option(help="Deliver all events to this receiver instead of those that the job names.")
    ] = None,
    args: Annotated[str, typer.Option(help="Its arguments, as a JSON object.")] = "{}",
    again: Annotated[bool, typer.Option("--again", help="Begin at the first event, also if it was delivered.")] = False,
    patience: Patience = 30.0,
) -> None:
    """Deliver the events that receivers lack, from the sites' spools and the journal. Running it twice is harmless."""
    keep_output()
    from fedtrack.cli.arguments import written_arguments
    from fedtrack.runs.replay import replay as deliver
    from fedtrack.runs.stored_run import find_run

    other = None if receiver is None else (receiver, written_arguments(args))
    done = deliver(find_run(run), other, again=again, patience=patience)
    for name, summary in done.receivers.items():
        place = f"; {summary.location}" if summary.location else ""
        echo(f"{name}: {done.new[name]:,} events delivered now, {summary.delivered:,} in all{place}")
        if summary.pending:
            echo(f"  {summary.pending:,} still wait in the journal: {summary.error or 'it was too slow'}")
        if summary.dead:
            echo(f"  {summary.dead:,} were refused; see: fedtrack runs dlq list {run}")
    for site, reason in done.waiting.items():
        echo(f"{site}: its records wait in the spool: {reason}")
    if not done.complete:
        raise typer.Exit(1)


@app.command()
def verify(run: Run, as_json: AsJson = False) -> None:
    """Count a run's events again, in spools, journal and backends; exit code 1 if anything differs.

    Of a run that goes on, the journal is counted, and the backends are left alone.
    """
    from fedtrack.cli.counting_line import CountingLine
    from fedtrack.runs.run_state import view
    from fedtrack.runs.stored_run import find_run
    from fedtrack.runs.verify import verify as recount

    stored = find_run(run)
    live = view(stored).goes_on
    checks = recount(stored, CountingLine())
    rows = [check._asdict() for check in checks]
    if not as_json and len(rows) > _MOST_ROWS:
        shown = [row for row in rows if row["problem"]]
        echo(f"{len(rows) - len(shown):,} counts agree; all of them are in the output of --json.")
        rows = shown
    for row in rows:
        row["found"] = "not countable" if row["found"] is None and not as_json else row["found"]
        row["result"] = row["problem"] or "ok"
    if rows or as_json:
        show_rows(rows, ("what", "expected", "found", "result"), as_json=as_json)
    problems = sum(bool(check.problem) for check in checks)
    ending = "No count differs." if live else "Everything is there."
    echo(f"{problems} of {len(checks)} counts differ." if problems else ending, err=as_json)
    if live:
        echo("The run goes on: these are its counts at this moment. Backends are counted at its end.", err=True)
    if problems:
        raise typer.Exit(1)


@app.command()
def salvage(run: Run) -> None:
    """Replace damaged journals by new ones with everything that can be read of them, and keep the damaged files."""
    from fedtrack.runs.salvage import describe
    from fedtrack.runs.salvage import salvage as rescue
    from fedtrack.runs.stored_run import find_run

    stored = find_run(run)
    done = rescue(stored)
    for one in done:
        for line in describe(one):
            echo(line)
    if not done:
        echo("No file of this run is damaged; nothing was changed.")
        return
    echo(f"Deliver what was rescued: fedtrack runs replay {quote(str(stored.base))}")


@app.command()
def prune(
    run: Run,
    older_than: Annotated[float, typer.Option(help="Days since an event arrived.")] = 30.0,
) -> None:
    """Delete from a run's journals the old events that every receiver has; a replay can no longer deliver them."""
    keep_output()
    keep_output()
    from fedtrack.runs.prune import prune as delete
    from fedtrack.runs.stored_run import find_run

    deleted = delete(find_run(run), older_than)
    for node, count in deleted.items():
        echo(f"{node}: {count:,} events deleted from the journal")
    if not deleted:
        echo("The run has no journal; nothing was deleted.")


def _show_tally(tally: Tally, *, live: bool) -> None:
    from fedtrack.runs.refusals import kinds_refused
    from fedtrack.runs.tally_rows import grouped_sites, known_columns, receiver_rows, site_rows

    sites = site_rows(grouped_sites(tally.sites, _MOST_ROWS), always=("logged", "in spool", "journaled"))
    if live:
        sites = known_columns(sites)
    if sites:  # a collector may not have heard from any yet
        show_rows(sites, tuple(sites[0]), as_json=False)
    receivers = receiver_rows(tally.receivers)
    if receivers:
        echo()
        show_rows(receivers, tuple(receivers[0]), as_json=False)
    echo()
    for name, receiver in tally.receivers.items():
        if receiver.error:
            echo(f"{name}: {receiver.error}")
    for site_name, site in tally.sites.items():
        if site.unreadable:
            echo(f"waits in its spool: {site_name}: {site.unreadable}")
        if site.dropped:
            echo(f"dropped: {site_name}: {site.dropped:,} log calls found no room in its spool")
        if site.lost:
            echo(f"lost: {site_name}: {site.lost:,} events were logged, and are in no spool and no journal")
    for site_name, count in tally.forgotten.items():
        echo(f"forgotten: {site_name}: {count:,} events were removed")
    for site_name, reason in tally.gaps:
        echo(f"lost: {site_name}: {reason}")
    for (name, reason), count in kinds_refused(tally.refused).items():
        echo(f"refused: {name}: {count:,} events: {reason}")
