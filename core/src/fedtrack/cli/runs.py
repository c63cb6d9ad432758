"""``fedtrack runs status|wait|abort|fetch|drain``: watch, end and download runs from any process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedtrack.cli import audit, dlq, export, forget, logs, stored_runs, watch
from fedtrack.cli.table import AsJson
from fedtrack.output import echo, keep_output

if TYPE_CHECKING:
    from fedtrack.engine import Engine, RunHandle, RunStatus

app = typer.Typer(name="runs", help="Watch and end runs, and look into finished ones.", no_args_is_help=True)
app.add_typer(stored_runs.app)
app.add_typer(dlq.app)
app.add_typer(export.app)
app.add_typer(forget.app)
app.add_typer(logs.app)
app.add_typer(watch.app)
app.add_typer(audit.app)

Handle = Annotated[
    str, typer.Argument(help="The handle that 'fedtrack submit' printed, a file with the handle, or a workspace.")
]


@app.command()
def status(handle: Handle, as_json: AsJson = False) -> None:
    """Show the state of a run; exit code 0 in any state."""
    with _attached(handle) as (run, engine):
        _print(engine.status(run), as_json)


@app.command()
def wait(
    handle: Handle,
    timeout: Annotated[float | None, typer.Option(help="The most seconds to wait.")] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a run is over.

    Exit code 0 if it is completed and its events have arrived, 1 if not, 3 if it goes on after the timeout.
    """
    keep_output()
    with _attached(handle) as (run, engine):
        found = engine.wait(run, timeout)
        _print(found, as_json)
    if found.state != "completed" or found.events_complete is False or found.unserved:
        raise typer.Exit(1)


@app.command()
def abort(
    handle: Handle,
    timeout: Annotated[float, typer.Option(help="The most seconds to wait for its end.")] = 60.0,
) -> None:
    """End a run in order, as Ctrl-C does: its events until then are delivered. Exit code 3 if it has not ended yet."""
    with _attached(handle) as (run, engine):
        before = engine.status(run)
        if before.state.is_final:
            echo("The run is over already; nothing was done.", err=True)
            _print(before, as_json=False)
            return
        echo(f"Ending the run {run.run_id}; its events until now are delivered.", err=True)
        engine.abort(run)
        _print(engine.wait(run, timeout), as_json=False)


@app.command()
def fetch(
    handle: Handle,
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder for the results.")],
) -> None:
    """Download a finished run's results."""
    keep_output()
    from fedtrack.cli.run import arrival

    with _attached(handle) as (run, engine):
        result = engine.fetch(run, workspace)
    echo(f"{result.job_name}: {result.status} ({arrival(result)}); results: {result.folder}")


@app.command()
def drain(
    handle: Handle, timeout: Annotated[float, typer.Option(help="The most seconds to wait for the sites.")] = 300.0
) -> None:
    """Collect the events that sites of a finished run still have, when the sites are back.

    Prints a handle for 'fedtrack runs fetch'.
    """
    keep_output()
    with _attached(handle) as (run, engine):
        echo(engine.drain(run, timeout).to_json())


def read_handle(text: str) -> RunHandle:
    """Return the handle in ``text``, or that of the run which is meant by a file or a folder.

    Raises:
        ConfigError: There is no handle and no run.
    """
    from fedtrack.engine import RunHandle
    from fedtrack.errors import ConfigError

    if text.lstrip().startswith("{"):
        return RunHandle.from_json(text)
    path = Path(text)
    if path.is_dir():
        return _handle_in(path)
    try:
        return RunHandle.from_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} holds no run handle: {error.strerror}.") from None


def _handle_in(folder: Path) -> RunHandle:
    """Return the handle of the run in a workspace, or in its folder ``runs/<number>``."""
    from fedtrack.engine import HANDLE_FILE, RunHandle
    from fedtrack.errors import ConfigError
    from fedtrack.runs.run_state import view
    from fedtrack.runs.stored_run import StoredRun, find_run

    run: StoredRun | None = None
    with suppress(ConfigError):
        run = find_run(folder)
    # A handle may be that of a run which has no folder here yet. It may also be older than a run that goes on here.
    handle = (run.base if run else folder) / HANDLE_FILE
    if handle.exists() and not (run is not None and view(run).goes_on):
        return RunHandle.from_json(handle.read_bytes())
    if run is None or run.record is None:
        raise ConfigError(f"{str(folder)!r} holds no run, and no handle of one ({HANDLE_FILE}).")
    return RunHandle(run.record.engine, str(run.base), run.record.run_id, str(run.base))


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
        echo(json.dumps(msgspec.to_builtins(status)))
        return
    events = {True: "; all events arrived", False: "; events are missing", None: ""}[status.events_complete]
    if status.unserved:
        events = f"{events if status.events_complete is False else ''}; {', '.join(status.unserved)} got nothing"
    detail = status.detail.removesuffix(".")  # more follows
    echo(f"{status.state.value}{': ' if detail else ''}{detail}{events}")
