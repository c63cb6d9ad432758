"""``fedtrack runs status|wait|abort|fetch|drain``: watch, end and download runs from any process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedtrack.cli import dlq, stored_runs
from fedtrack.cli.table import AsJson
from fedtrack.output import keep_output

if TYPE_CHECKING:
    from fedtrack.engine import Engine, RunHandle, RunStatus

app = typer.Typer(name="runs", help="Watch and end runs, and look into finished ones.", no_args_is_help=True)
app.add_typer(stored_runs.app)
app.add_typer(dlq.app)

Handle = Annotated[
    str, typer.Argument(help="The handle that 'fedtrack submit' printed, a file with the handle, or a workspace.")
]


@app.command()
def status(handle: Handle, as_json: AsJson = False) -> None:
    """Show the state of a run."""
    with _attached(handle) as (run, engine):
        _print(engine.status(run), as_json)


@app.command()
def wait(
    handle: Handle,
    timeout: Annotated[float | None, typer.Option(help="The most seconds to wait.")] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a run is over."""
    keep_output()
    with _attached(handle) as (run, engine):
        _print(engine.wait(run, timeout), as_json)


@app.command()
def abort(handle: Handle) -> None:
    """End a run."""
    with _attached(handle) as (run, engine):
        engine.abort(run)


@app.command()
def fetch(
    handle: Handle,
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder for the results.")],
) -> None:
    """Download a finished run's results."""
    keep_output()
    keep_output()
    with _attached(handle) as (run, engine):
        result = engine.fetch(run, workspace)
    events = "all events arrived" if result.events_complete else "events are missing, see: fedtrack runs show"
    typer.echo(f"{result.job_name}: {result.status} ({events}); results: {result.folder}")


@app.command()
def drain(
    handle: Handle, timeout: Annotated[float, typer.Option(help="The most seconds to wait for the sites.")] = 300.0
) -> None:
    """Collect the events that sites of a finished run still have, when the sites are back.

    Prints a handle for 'fedtrack runs fetch'.
    """
    keep_output()
    with _attached(handle) as (run, engine):
        typer.echo(engine.drain(run, timeout).to_json())


def read_handle(text: str) -> RunHandle:
    """Return the handle in ``text``, or in the file or workspace of that name."""
    from fedtrack.engine import HANDLE_FILE, RunHandle
    from fedtrack.errors import ConfigError

    if text.lstrip().startswith("{"):
        return RunHandle.from_json(text)
    path = Path(text) / HANDLE_FILE if Path(text).is_dir() else Path(text)
    try:
        return RunHandle.from_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} holds no run handle: {error.strerror}.") from None


@contextmanager
def _attached(handle: str) -> Iterator[tuple[RunHandle, Engine]]:
    from fedtrack.partial_engine import open_engine

    run = read_handle(handle)
    # An open connection may hold threads that would keep the process after an error.
    with closing(open_engine(run.engine)) as engine:
        yield run, engine


def _print(status: RunStatus, as_json: bool) -> None:
    import msgspec

    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(status)))
        return
    events = {True: "; all events arrived", False: "; events are missing", None: ""}[status.events_complete]
    typer.echo(f"{status.state.value}{': ' if status.detail else ''}{status.detail}{events}")
