"""``fedtrack runs dlq``: the events that a receiver refused for good."""

from __future__ import annotations

from typing import Annotated

import typer

from fedtrack.cli.stored_runs import Patience, Run
from fedtrack.cli.table import AsJson
from fedtrack.cli.table import show as show_rows
from fedtrack.output import echo, keep_output

app = typer.Typer(name="dlq", help="Events that a receiver refused for good.", no_args_is_help=True)

Receiver = Annotated[str, typer.Argument(help="The receiver's id in the job; a site's own is <site>/<id>.")]


@app.command("list")
def list_dead(run: Run, as_json: AsJson = False) -> None:
    """List the refused events and why."""
    import msgspec

    from fedtrack.runs import dead_letters
    from fedtrack.runs.stored_run import find_run

    rows = [msgspec.to_builtins(letter) for letter in dead_letters.list_dead(find_run(run))]
    show_rows(rows, ("receiver", "site", "seq", "kind", "key", "reason"), as_json=as_json)


@app.command()
def retry(run: Run, receiver: Receiver, patience: Patience = 30.0) -> None:
    """Deliver a receiver's refused events once more; exit code 1 if any is refused again."""
    keep_output()
    from fedtrack.runs import dead_letters
    from fedtrack.runs.stored_run import find_run

    done = dead_letters.retry(find_run(run), receiver, patience)
    echo(f"{receiver}: {done.delivered:,} delivered, {done.refused:,} refused again")
    if done.refused:
        echo(f"  {done.error}")
        raise typer.Exit(1)


@app.command()
def drop(run: Run, receiver: Receiver) -> None:
    """Forget a receiver's refused events; they stay in the journal and are still counted as refused."""
    keep_output()
    from fedtrack.runs import dead_letters
    from fedtrack.runs.stored_run import find_run

    echo(f"{receiver}: {dead_letters.drop(find_run(run), receiver):,} events dropped")
