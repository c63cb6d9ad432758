"""``fedtrack agent``: sends what lies in an outbox, for a training that has ended or a machine that was off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedtrack.output import echo


def agent(
    folder: Annotated[
        Path | None, typer.Option(help="The outbox; without it, FEDTRACK_OUTBOX or the one of this user.")
    ] = None,
) -> None:
    """Send the records that lie in an outbox, until the collectors have everything; Ctrl-C stops it without loss."""
    from fedtrack.connection import agent as agents
    from fedtrack.connection.left import events_left
    from fedtrack.connection.outbox import Outbox

    outbox = Outbox(folder)
    runs = outbox.runs()
    if not runs:
        echo(f"{outbox.root} holds no run.")
        return
    left_anywhere = False
    for run in runs:
        waiting = {box.site: events_left(box.spool) for box in run.sites()}
        if not any(waiting.values()):
            continue
        target = run.target
        echo(f"{target.run}: sending {sum(waiting.values()):,} events of {', '.join(waiting)} to {target.address}")
        if not agents.run(run, once=True):
            echo(f"{target.run}: another agent is sending them already.")
            continue
        left = sum(events_left(box.spool) for box in run.sites())
        left_anywhere |= left > 0
        reasons = {box.shipped().waiting or "it has no token" for box in run.sites() if events_left(box.spool)}
        echo(f"{target.run}: " + (f"{left:,} events are left: {'; '.join(sorted(reasons))}" if left else "sent"))
    if left_anywhere:
        raise typer.Exit(1)
