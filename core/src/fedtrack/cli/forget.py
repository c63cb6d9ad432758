"""``fedtrack runs forget``: removes what a run holds of one site."""

from __future__ import annotations

from typing import Annotated

import typer

from fedtrack.cli.stored_runs import Run
from fedtrack.output import echo

#: Without a name: its command is one of ``fedtrack runs``.
app = typer.Typer()


@app.command()
def forget(
    run: Run,
    site: Annotated[str, typer.Option(help="The site whose records are removed.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove every record of a site from a run, for good; nothing of the site is taken any more.

    What backends have taken stays there, and is named.
    """
    from fedtrack.connection.outbox import Outbox
    from fedtrack.runs.forget import forget as remove
    from fedtrack.runs.stored_run import find_run

    stored = find_run(run)
    if not yes:
        typer.confirm(f"Remove every record of {site!r} from {stored.base}? They cannot be brought back.", abort=True)
    found = remove(stored, site)
    files = found.files + (Outbox().forget(stored.base.name, site) if stored.is_collected else 0)
    echo(f"{site}: {found.events:,} events removed from the journal, and {files:,} files")
    for place in found.left:
        echo(f"not removed: {place}")
