"""``fedtrack runs export|query|backup``: the events of a run as a table or as an answer, and a copy of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedtrack.cli.stored_runs import Run
from fedtrack.cli.table import AsJson, show
from fedtrack.output import echo

#: Without a name: its commands are those of ``fedtrack runs``.
app = typer.Typer()


@app.command()
def export(
    run: Run,
    format: Annotated[str, typer.Option(help="csv, jsonl or parquet.")] = "parquet",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file. [events.FORMAT]")] = None,
) -> None:
    """Write a run's events into a file: one row each, with site, round, key, step and value."""
    from fedtrack.runs.export import export as write
    from fedtrack.runs.rows import pruned
    from fedtrack.runs.stored_run import find_run

    stored = find_run(run)
    target = Path(f"events.{format}") if output is None else output
    count = write(stored, target, format)
    echo(f"{count:,} events in {target.absolute()}")
    if gone := pruned(stored):
        echo(f"{gone:,} more were deleted from the journal by `fedtrack runs prune`.", err=True)


@app.command()
def query(
    run: Run,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A statement about the table events.")],
    as_json: AsJson = False,
) -> None:
    """Ask a question about a run's events in SQL.

    For example: "SELECT site, max(value) FROM events WHERE key = 'accuracy' GROUP BY site"
    """
    from fedtrack.runs.export import query as ask
    from fedtrack.runs.stored_run import find_run

    answer = ask(find_run(run), sql)
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    show(rows, answer.columns, as_json=as_json)


@app.command()
def backup(run: Run, target: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Copy a run, also one that goes on; the copy can be shown, verified and replayed."""
    from fedtrack.runs.backup import back_up
    from fedtrack.runs.stored_run import find_run

    size = back_up(find_run(run), target)
    echo(f"{size:,} bytes in {target.absolute()}; `fedtrack runs show {target.absolute()}` shows it.")
