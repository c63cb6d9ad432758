"""``fedtrack resume``: continue an interrupted run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fedtrack.engine import LOCAL_ENGINE
from fedtrack.output import keep_output

if TYPE_CHECKING:
    from fedtrack.runs.result import RunResult

RanOn: TypeAlias = Annotated[
    str, typer.Option("--engine", help="The engine of the run: a name from 'fedtrack engines list'.")
]
Gpus: TypeAlias = Annotated[str | None, typer.Option(help="GPU ids for the sites, such as 0,1: assigned in turn.")]


def resume(
    workspace: Annotated[Path, typer.Argument(help="The folder of the run.", metavar="WORKSPACE", show_default=False)],
    engine: RanOn = LOCAL_ENGINE,
    gpus: Gpus = None,
) -> None:
    """Continue an interrupted run after its last finished round, to its end."""
    keep_output()
    from fedtrack.partial_engine import open_engine

    with closing(open_engine(engine)) as opened:
        exit_with(opened.resume(workspace, gpus=gpus))


def exit_with(result: RunResult) -> None:
    """End with the exit code of a run, whose page has given the reason."""
    if result.exit_code:
        raise typer.Exit(result.exit_code)
