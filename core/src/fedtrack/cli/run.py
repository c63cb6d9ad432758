"""``fedtrack run``: run an exported job here, send one elsewhere, or go on with one that was cut short."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

#: Where the examples run, too; an earlier run in it is moved aside, never overwritten.
_WORKSPACE = Path("/tmp/fedtrack/jobs/workdir")  # noqa: S108 - short, because people read and type it


def run(
    folder: Annotated[Path | None, typer.Argument(help="An exported job.")] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help=f"Folder for everything the run writes; {_WORKSPACE} by default."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="The workspace of a run to go on with, after its last finished round.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where to run it: a name from 'fedtrack engines list'.")] = "local",
    target: Annotated[
        str | None, typer.Option(help="Which system of that engine: a workspace, an admin's startup kit, ...")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's handle and do not wait.")] = False,
    run_id: Annotated[str | None, typer.Option(help="The run's id; a fresh one by default.")] = None,
    gpus: Annotated[str | None, typer.Option(help="GPU ids for the sites, such as 0,1: dealt out in turn.")] = None,
) -> None:
    """Run an exported job to its end."""
    from fedtrack.errors import ConfigError
    from fedtrack.plugins import registry

    runner = registry().engine(engine)()
    if target is not None:
        if folder is None or resume is not None or gpus is not None:
            raise ConfigError("--target takes an exported job: fedtrack run JOB --engine ENGINE --target TARGET")
        with closing(runner):
            _submit(runner, folder, target, run_id, workspace, detach=detach)
    elif engine != "local" or detach:
        raise ConfigError(f"The engine {engine!r} needs a target: fedtrack run JOB --engine {engine} --target TARGET")
    elif resume is not None:
        if folder is not None or workspace is not None:
            raise ConfigError("--resume goes on with the job in its workspace; give neither JOB nor --workspace.")
        runner.resume(resume, gpus=gpus)
    elif folder is None:
        raise ConfigError(
            "Give an exported job (fedtrack run JOB) or the workspace of one (fedtrack run --resume DIR)."
        )
    else:
        runner.run(folder, workspace or _WORKSPACE, gpus=gpus, run_id=run_id)


def _submit(
    runner: Any, folder: Path, target: str, run_id: str | None, workspace: Path | None, *, detach: bool
) -> None:
    from fedtrack.engine import HANDLE_FILE

    handle = runner.submit(folder, target, run_id)
    if workspace is not None:
        workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        (workspace / HANDLE_FILE).write_text(handle.to_json())
    if detach:
        typer.echo(handle.to_json())
        return
    typer.echo(f"Submitted; Ctrl-C ends the waiting, not the run. Its handle: {handle.to_json()}", err=True)
    status = runner.wait(handle)
    complete = status.events_complete
    if workspace is not None:
        result = runner.fetch(handle, workspace)
        complete = result.events_complete
        typer.echo(f"Results: {result.folder}")
    events = {True: "all events arrived", False: "events are missing, see: fedtrack runs show", None: "not fetched"}
    typer.echo(f"{status.state.value}{': ' if status.detail else ''}{status.detail} ({events[complete]})")
    if status.state != "completed":
        raise typer.Exit(1)
