"""``fedtrack run``: run an exported job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(help="An exported job.")],
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder for everything the run writes.")],
    engine: Annotated[str, typer.Option(help="Where to run it.")] = "local",
    gpus: Annotated[str | None, typer.Option(help="GPU ids for the sites, comma-separated.")] = None,
) -> None:
    """Run an exported job to its end."""
    from fedtrack.plugins import registry

    registry().engine(engine)().run(folder, workspace, gpus=gpus)
