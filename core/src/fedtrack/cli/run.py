"""``fedtrack run``: run an exported job, or go on with one that was cut short."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path | None, typer.Argument(help="An exported job.")] = None,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", help="Folder for everything the run writes.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="The workspace of a run to go on with, after its last finished round.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where to run it.")] = "local",
    gpus: Annotated[str | None, typer.Option(help="GPU ids for the sites, comma-separated.")] = None,
) -> None:
    """Run an exported job to its end."""
    from fedtrack.errors import ConfigError
    from fedtrack.plugins import registry

    runner = registry().engine(engine)()
    if resume is not None:
        if folder is not None or workspace is not None:
            raise ConfigError("--resume names a workspace that has its job already; give neither JOB nor --workspace.")
        runner.resume(resume, gpus=gpus)
    elif folder is None or workspace is None:
        raise ConfigError("Give an exported job and a workspace: fedtrack run JOB --workspace DIR")
    else:
        runner.run(folder, workspace, gpus=gpus)
