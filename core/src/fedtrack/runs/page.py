"""Page: the result of a run, printed for a terminal."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from fedtrack.delivery.report import ReceiverTally
from fedtrack.runs.cross_site_table import cross_site_table
from fedtrack.runs.result import SUMMARY_FILE, RunResult
from fedtrack.runs.tally_rows import Row, grouped_sites, receiver_rows, site_rows
from fedtrack.runs.traceback_logs import traceback_logs
from fedtrack.terminal import Terminal

_VARIABLE = re.compile(r"\A[A-Z_][A-Z0-9_]*=\S+ ")

#: The most sites, and the most remarks, that are listed one by one.
_MOST_SITES = 20


def print_summary(result: RunResult) -> None:
    """Print the page."""
    console = Terminal(sys.stdout, soft_wrap=True)
    console.print()
    console.print(f"{result.job_name}: {result.status} in {result.seconds:.1f} s", style="bold")
    if result.rounds:
        console.print(_rounds_table(result))
    tables = result.cross_site_tables if len(result.cross_site_tables) > 1 else {"": result.cross_site}
    for workflow, table in tables.items():
        if table:
            console.print(cross_site_table(table, result.key_metric, workflow))
    console.print(_counts_table("Events", site_rows(grouped_sites(result.sites, _MOST_SITES))))
    if result.receivers:
        console.print(_counts_table("Receivers", _receiver_rows(result), left=2))
    for line in _remarks(result):
        console.print(line)
    for line in _policies(result.policies):
        console.print(line)
    console.print(f"Results:     {result.folder}")
    for receiver in result.receivers.values():
        shown = [receiver.location] if "://" in receiver.location else []  # of a file, the command is enough
        shown += [_runnable(receiver.command)] if receiver.command else []
        for number, line in enumerate(shown or [receiver.location] if receiver.location else []):
            label = "" if number else f"{receiver.receiver}:"
            console.print(f"{label:<12} {line}")
    if find_spec("fedtrack_ui") is not None:
        command = _runnable(f"fedtrack report {shlex.quote(str(result.run))} -o run.html")
        console.print(f"Report:      {command}")
    if result.unserved:
        names, workspace = ", ".join(result.unserved), shlex.quote(str(result.workspace))
        console.print(f"Got nothing: {names}; the events are kept. See: fedtrack runs show {workspace}")


def _policies(policies: Mapping[str, str]) -> Iterator[str]:
    """Yield what the sites' records are released under, one line for all sites with the same terms."""
    sites: dict[str, list[str]] = {}
    for site, terms in policies.items():
        sites.setdefault(terms, []).append(site)
    for terms, names in sites.items():
        more = f" and {len(names) - _MOST_SITES} more" if len(names) > _MOST_SITES else ""
        yield f"Policy:      {', '.join(names[:_MOST_SITES])}{more}: {terms}"


def _runnable(command: str) -> str:
    """Return ``command`` so that it works when it is pasted, also if the environment is not on the PATH."""
    if " && " in command:
        return " && ".join(_runnable(part) for part in command.split(" && "))
    if match := _VARIABLE.match(command):
        return match[0] + _runnable(command[match.end() :])
    program, _, rest = command.partition(" ")
    installed = Path(sys.executable).parent / program
    if shutil.which(program) or not installed.exists():
        return command
    shown = installed.relative_to(Path.cwd()) if installed.is_relative_to(Path.cwd()) else installed
    return f"{shlex.quote(str(shown))} {rest}"


def _rounds_table(result: RunResult) -> Table:
    names = sorted({name for r in result.rounds for name in r.metrics} | set(result.final_metrics))
    table = Table(title="Global model, scored by the sites that received it", title_justify="left")
    table.add_column("round", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("seconds", justify="right")
    # The metrics in the results of round r score the model that entered it, and have step r in the journal.
    for item in result.rounds:
        values = (_number(item.metrics.get(name)) for name in names)
        table.add_row(str(item.current_round), *values, f"{item.seconds:.1f}")
    if result.final_metrics:
        table.add_row("final", *(_number(result.final_metrics.get(name)) for name in names), "")
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _receiver_rows(result: RunResult) -> list[Row]:
    rows = receiver_rows(result.receivers, always=("delivered",))
    labels = [row.pop("receiver") for row in rows]
    return [
        {"receiver": result.receivers[label].receiver, "component": label} | row
        for label, row in zip(labels, rows, strict=True)
    ]


def _counts_table(title: str, rows: list[Row], left: int = 1) -> Table:
    """Return the rows as a table; its first ``left`` columns are words."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(rows[0]):
        table.add_column(column, justify="left" if index < left else "right")
    for row in rows:
        table.add_row(*row.values())
    return table


def _remarks(result: RunResult) -> list[str]:
    lines = _site_remarks(result)
    lines += [f"Lost:        {site}: {reason}" for site, reason in result.gaps]
    for site, reason in result.waiting.items():
        lines.append(f"Waiting:     {site}: records are in its spool and not in the journal: {reason}")
    if result.waiting:
        lines.append(f"             To try again: fedtrack runs replay {shlex.quote(str(result.run))}")
    if len(lines) > _MOST_SITES:
        lines = [*lines[:_MOST_SITES], f"             and {len(lines) - _MOST_SITES:,} more; see {SUMMARY_FILE}."]
    for name, receiver in result.receivers.items():
        lines += _receiver_remarks(result, name, receiver)
    return lines + [f"Tracebacks:  {log}" for log in traceback_logs(result.run, result.receivers.values())]


def _site_remarks(result: RunResult) -> list[str]:
    lines = []
    for name, site in result.sites.items():
        if site.error:
            lines.append(f"Failed:      {site.error}")
        if site.logged is None:
            lines.append(f"Note:        {name} has not reported its number of log calls; stored ones are not lost.")
        if site.lost:
            lines.append(f"Lost:        {name}: {site.lost:,} events were logged, and are in no spool and no journal.")
        if site.dropped:
            lines.append(f"Lost:        {name}: {site.dropped:,} log calls found no room in its spool.")
        if site.rejected:
            lines.append(
                f"Rejected:    {name}: {site.rejected:,} log calls had a value that no record can hold; see log.txt."
            )
    return lines


def _receiver_remarks(result: RunResult, name: str, receiver: ReceiverTally) -> list[str]:
    lines = []
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
        lines.append(f"             To deliver them later: fedtrack runs replay {shlex.quote(str(result.run))}")
    elif receiver.error:
        lines.append(f"Note:        {name}: {receiver.error}")
    if receiver.outage_seconds >= 1.0:
        lines.append(f"Outage:      {name}: took nothing for {receiver.outage_seconds:.0f} s: {receiver.outage}")
    return lines
