"""``fedtrack run``: run an exported job, or go on with one that was cut short."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Where the examples run, too; an earlier run in it is moved aside, never overwritten.
_WORKSPACE = Path("/tmp/fedtrack/jobs/workdir")  # noqa: S108 - short, because people read and type it


def run(
    folder: Annotated[Path | None, typer.Argument(help="An exported job.")] = None,
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Folder for everything the run writes.")
    ] = _WORKSPACE,
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
        if folder is not None:
            raise ConfigError(f"--resume goes on with the job in its workspace; leave {str(folder)!r} out.")
        runner.resume(resume, gpus=gpus)
    elif folder is None:
        raise ConfigError(
            "Give an exported job (fedtrack run JOB) or the workspace of one (fedtrack run --resume DIR)."
        )
    else:
        runner.run(folder, workspace, gpus=gpus)
