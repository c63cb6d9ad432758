"""``fedtrack submit``: start a run on this machine or at an engine's target, and return at once."""

from __future__ import annotations

import shlex
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fedtrack.engine import LOCAL_ENGINE
from fedtrack.output import echo, keep_output

if TYPE_CHECKING:
    from fedtrack.engine import Engine, RunHandle

EngineName: TypeAlias = Annotated[
    str, typer.Option(help="The engine that runs it: a name from 'fedtrack engines list'.")
]
RunId: TypeAlias = Annotated[
    str | None, typer.Option(help="The run's id, a new one by default; a target starts each id only once.")
]


def submit(
    job: Annotated[Path, typer.Argument(help="An exported job.", metavar="JOB", show_default=False)],
    target: Annotated[
        str | None,
        typer.Option(help="A system of the engine, such as an admin's startup kit; by default the workspace."),
    ] = None,
    engine: EngineName = LOCAL_ENGINE,
    run_id: RunId = None,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", help="Folder for the handle, and later for the results.")
    ] = None,
) -> None:
    """Start a run and return at once; it goes on without this terminal.

    Prints the run's handle, with which 'fedtrack runs' finds the run from any process; its workspace does the same.
    """
    keep_output()
    from fedtrack.partial_engine import open_engine

    if workspace is not None:
        make_folder(workspace)
    with closing(open_engine(engine)) as opened:
        run = opened.submit(job, target or _here(opened, engine, workspace), run_id)
        if workspace is not None:
            keep_handle(run, workspace)
    echo(run.to_json())
    named = shlex.quote(run.to_json() if workspace is None else str(workspace))
    for purpose, command in (("Watch it", "status"), ("Wait for it", "wait"), ("End it", "abort")):
        echo(f"{purpose + ':':<12} fedtrack runs {command} {named}", err=True)


def _here(engine: Engine, name: str, workspace: Path | None) -> str:
    """Return the target of an engine that runs jobs on this machine: the workspace.

    Raises:
        ConfigError: No target was given, and the engine needs one.
    """
    from fedtrack.errors import ConfigError, NotSupported

    can_run = False
    with suppress(NotSupported):
        can_run = engine.caps().can_run
    if not can_run:
        raise ConfigError(f"The engine {name!r} needs a target: fedtrack submit JOB --engine {name} --target TARGET")
    if workspace is None:
        raise ConfigError("Give the folder for everything that the run writes: fedtrack submit JOB --workspace FOLDER")
    return str(workspace)


def make_folder(workspace: Path) -> None:
    """Create the folder for a handle. This is done before the start of a run, which would otherwise have no handle.

    Raises:
        WorkspaceError: The folder cannot be created.
    """
    from fedtrack.private_folder import private_folder
    from fedtrack.runs.workspace import WORKSPACE_MARKS

    private_folder(workspace, "workspace", WORKSPACE_MARKS)


def keep_handle(run: RunHandle, workspace: Path) -> None:
    """Write a run's handle into the workspace, where ``fedtrack runs`` finds it."""
    from fedtrack.engine import HANDLE_FILE
    from fedtrack.files import write_whole

    write_whole(workspace / HANDLE_FILE, run.to_json().encode())
