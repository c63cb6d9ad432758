"""``fedtrack runs watch``: a run that goes on, as a table that is refreshed, or as lines where nobody sees a table."""

from __future__ import annotations

import sys
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated

import typer

from fedtrack.cli.stored_runs import Run
from fedtrack.output import echo
from fedtrack.tracking.events import SERVER

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fedtrack.runs.watched_run import Sight, WatchedRun

#: A look may take a tenth of the time.
_SHARE = 10.0
#: The most sites, and the most metrics of a site, that are shown.
_MOST_SITES, _MOST_METRICS = 20, 3

#: Without a name: its commands are those of ``fedtrack runs``.
app = typer.Typer()


@app.command()
def watch(
    run: Run,
    interval: Annotated[float, typer.Option(min=0.1, help="The least seconds between two looks.")] = 1.0,
) -> None:
    """Show a run until it is over: rounds, sites with their last metrics, and what each receiver has got.

    It works from any terminal, and Ctrl-C ends the watching, not the run. Piped, it prints a line for each change. The
    exit code is 0 in any state; that of 'fedtrack runs wait' says how the run ended.
    """
    from fedtrack.runs.stored_run import find_run
    from fedtrack.runs.watched_run import WatchedRun

    watched = WatchedRun(find_run(run))
    with suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _show_table(watched, interval)
        else:
            _show_lines(watched, interval)


def _show_lines(watched: WatchedRun, interval: float) -> None:
    shown: set[str] = set()
    last = ""
    while True:
        begun = monotonic()
        sight = watched.look()
        for line in failures(sight):
            if line not in shown:
                shown.add(line)
                echo(line)
        if (line := state_line(sight)) != last:
            echo(line)
            last = line
        if not sight.view.goes_on:
            return
        _pause(begun, interval)


def _show_table(watched: WatchedRun, interval: float) -> None:
    from rich.live import Live

    from fedtrack.terminal import Terminal

    with Live(console=Terminal(sys.stdout), auto_refresh=False) as live:
        while True:
            begun = monotonic()
            sight = watched.look()
            live.update(table_of(sight), refresh=True)
            if not sight.view.goes_on:
                return
            _pause(begun, interval)


def _pause(begun: float, interval: float) -> None:
    sleep(max(interval, _SHARE * (monotonic() - begun)))


def state_line(sight: Sight) -> str:
    """Return the state of a run and its deliveries in one line."""
    found = sight.view
    parts = [f"{found.state.value}: {found.detail}" if found.detail else found.state.value]
    if not found.goes_on and found.events is not None:
        parts.append(f"{found.events:,} events in the journal")
    for label, one in sight.tally.receivers.items() if sight.tally else ():
        total = one.seen if one.addressed is None else one.addressed
        parts.append(f"{label} has {one.delivered:,} of {total:,}" + (f" ({one.error})" if one.error else ""))
    return "; ".join(" ".join(part.split()) for part in parts)


def failures(sight: Sight) -> list[str]:
    """Return a line for each known failure of a site."""
    progress = sight.view.progress
    return [f"failed: {' '.join(reason.split())}" for reason in progress.failed.values()] if progress else []


def table_of(sight: Sight) -> RenderableType:
    """Return what a terminal shows of one look."""
    from rich.console import Group
    from rich.table import Table

    from fedtrack.runs.tally_rows import receiver_rows

    sites = Table("site", "state", "last metrics", title=state_line(sight._replace(tally=None)), title_justify="left")
    sites.add_column("journaled", justify="right")
    names = _names(sight)
    for name in names[:_MOST_SITES]:
        sites.add_row(name, _state(sight, name), _metrics(sight, name), _journaled(sight, name))
    if len(names) > _MOST_SITES:
        sites.add_row(f"and {len(names) - _MOST_SITES:,} more")
    receivers = Table(title="Receivers", title_justify="left")
    rows = receiver_rows(sight.tally.receivers) if sight.tally else []
    for index, column in enumerate(rows[0] if rows else ()):
        receivers.add_column(column, justify="right" if index else "left")
    for row in rows:
        receivers.add_row(*row.values())
    return Group(sites, *([receivers] if rows else []), *failures(sight))


def _names(sight: Sight) -> list[str]:
    """Return the sites, those first about which there is something to say."""
    found = dict.fromkeys([*(sight.tally.sites if sight.tally else ()), *sight.metrics])
    return sorted(found, key=lambda name: _state(sight, name) in ("", "up"))


def _state(sight: Sight, name: str) -> str:
    progress = sight.view.progress
    if progress is not None and name in progress.failed:
        return "failed"
    if progress is None or not sight.view.goes_on or name == SERVER:
        return ""
    return "waited for" if name in progress.waiting else "up"


def _metrics(sight: Sight, name: str) -> str:
    found = sight.metrics.get(name, {})
    # What the server notes of each site is no metric of the model.
    last = [(key, value) for key, value in found.items() if name != SERVER or not key.startswith("sites/")]
    last = last[-_MOST_METRICS:]
    return ", ".join(f"{key} {value:.4g}" for key, value in reversed(last))


def _journaled(sight: Sight, name: str) -> str:
    site = sight.tally.sites.get(name) if sight.tally else None
    return "?" if site is None else f"{site.journaled:,}"
