"""``fedtrack run``: run an exported job to its end, on this machine or at an engine's target."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedtrack.cli.resume import Gpus, exit_with
from fedtrack.cli.resume import resume as resume_run
from fedtrack.cli.submit import EngineName, RunId, keep_handle, make_folder
from fedtrack.cli.submit import submit as submit_job
from fedtrack.engine import LOCAL_ENGINE
from fedtrack.output import PROGRESS_STYLE, ProgressStyle, echo, keep_output

if TYPE_CHECKING:
    from fedtrack.engine import Engine, RunHandle
    from fedtrack.runs.result import RunResult

#: Below the folder of the user's state. It is the workspace of the examples, too; an earlier run in it is moved aside,
#: never overwritten.
_WORKSPACE = Path("jobs", "workdir")


def run(
    job: Annotated[Path | None, typer.Argument(help="An exported job.", metavar="JOB", show_default=False)] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            help=f"Folder for everything that the run writes; $XDG_STATE_HOME/fedtrack/{_WORKSPACE} without it.",
        ),
    ] = None,
    engine: EngineName = LOCAL_ENGINE,
    target: Annotated[
        str | None,
        typer.Option(help="A system of that engine (an admin's startup kit, ...): submit, wait and fetch."),
    ] = None,
    run_id: RunId = None,
    gpus: Gpus = None,
    n_clients: Annotated[
        int | None,
        typer.Option(
            "--n-clients", "-n", min=1, help="Number of sites (site-1 to site-n) of a job that is for all sites."
        ),
    ] = None,
    clients: Annotated[
        str | None,
        typer.Option("--clients", "-c", help="Names of the sites of a job that is for all sites, comma-separated."),
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print a line of JSON for each thing that happens, and nothing else.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show neither progress nor summary; the exit code says the end.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(hidden=True)] = None,
    detach: Annotated[bool, typer.Option("--detach", hidden=True)] = False,
) -> None:
    """Run an exported job to its end."""
    keep_output()
    from fedtrack.errors import ConfigError
    from fedtrack.job.named_sites import with_sites
    from fedtrack.partial_engine import open_engine

    style = _style(engine, target, json_lines=json_lines, quiet=quiet)
    if resume is not None:
        if job is not None or workspace is not None or target is not None or run_id is not None or detach:
            raise ConfigError(
                "--resume goes on with a run as it is: give its workspace only (fedtrack resume WORKSPACE)."
            )
        _deprecated("run --resume", "resume WORKSPACE")
        resume_run(resume, engine, gpus)
    elif job is None:
        raise ConfigError("Give an exported job: fedtrack run JOB. To go on with a run: fedtrack resume WORKSPACE")
    elif target is not None and gpus is not None:
        raise ConfigError("--gpus deals out the GPUs of this machine, and the sites of --target have their own.")
    elif detach:
        if target is None:
            raise ConfigError("--detach needs a target: fedtrack submit JOB --engine ENGINE --target TARGET")
        _deprecated("run --detach", "submit JOB --engine ENGINE --target TARGET")
        submit_job(job, target, engine, run_id, workspace)
    else:
        sites = _sites(n_clients, clients)
        with _shown(style), with_sites(job, sites) as job, closing(open_engine(engine)) as opened:
            if target is None:
                exit_with(opened.run(job, workspace or _default_workspace(), gpus=gpus, run_id=run_id))
            else:
                _run_there(opened, job, target, run_id, workspace or _default_workspace())


def _style(engine: str, target: str | None, *, json_lines: bool, quiet: bool) -> ProgressStyle:
    """Return the style that the options choose."""
    from fedtrack.errors import ConfigError

    if not json_lines and not quiet:
        return ProgressStyle.AUTO
    option = "--json-lines" if json_lines else "--quiet"
    if json_lines and quiet:
        raise ConfigError("--quiet shows nothing, so that there are no lines of JSON; give one of the two options.")
    if target is not None or engine != LOCAL_ENGINE:
        raise ConfigError(
            f"{option} is for runs of the engine {LOCAL_ENGINE!r} on this machine; other engines show runs themselves."
        )
    return ProgressStyle.JSON_LINES if json_lines else ProgressStyle.QUIET


@contextmanager
def _shown(style: ProgressStyle) -> Iterator[None]:
    """Let the engine show a run in a style."""
    token = PROGRESS_STYLE.set(style)
    try:
        yield
    finally:
        PROGRESS_STYLE.reset(token)


def _sites(n_clients: int | None, clients: str | None) -> list[str] | None:
    """Return the names of the sites that the command gives."""
    from fedtrack.errors import ConfigError
    from fedtrack.job.values import checked_names

    if clients is not None and n_clients is not None:
        raise ConfigError("Give --clients or --n-clients, not both.")
    if n_clients is not None:
        return [f"site-{number}" for number in range(1, n_clients + 1)]
    return None if clients is None else checked_names("--clients", clients)


def _deprecated(old: str, new: str) -> None:
    echo(f"'fedtrack {old}' is deprecated and will be removed; use: fedtrack {new}", err=True)


def _run_there(engine: Engine, job: Path, target: str, run_id: str | None, workspace: Path) -> None:
    """Submit a job, wait for its end and download its results into the workspace."""
    from fedtrack.errors import RunNotFound

    make_folder(workspace)
    run = engine.submit(job, target, run_id)
    keep_handle(run, workspace)
    echo(f"Submitted; Ctrl-C ends the waiting, not the run. Its handle: {run.to_json()}", err=True)
    status = engine.wait(run)
    code = int(status.state != "completed" or status.events_complete is False)
    echo(f"{status.state.value}{': ' if status.detail else ''}{status.detail}")
    _make_room(workspace, run)
    # A run that was rejected, or lost its server, may have no results; its state is printed already.
    with suppress(*(() if status.state == "completed" else (RunNotFound,))):
        result = engine.fetch(run, workspace)
        code = code or result.exit_code
        echo(f"Results: {result.folder} ({arrival(result)})")
    if code:
        raise typer.Exit(code)


def arrival(result: RunResult) -> str:
    """Return whether the events of a run have arrived, in a few words, and what to do if they have not."""
    command = f"see: fedtrack runs show {shlex.quote(str(result.workspace))}"
    if not result.events_complete:
        return f"events are missing, {command}"
    return f"{', '.join(result.unserved)} got nothing, {command}" if result.unserved else "all events arrived"


def _make_room(workspace: Path, run: RunHandle) -> None:
    """Move an earlier run's files in the workspace aside, as a run on this machine does."""
    from fedtrack.runs.workspace import RUN_FOLDER, Workspace, read_record

    record = read_record(workspace / "server" / RUN_FOLDER)
    if record is not None and record.run_id == run.run_id:
        return  # the engine itself has put the run there
    place = Workspace(workspace)
    try:
        earlier = place.move_earlier_run()
        if earlier is not None:
            command = f"fedtrack runs show {shlex.quote(str(earlier))}"
            echo(f"The earlier run in this workspace is kept in {earlier}, see: {command}", err=True)
    finally:
        place.close()


def _default_workspace() -> Path:
    from fedtrack.output import say
    from fedtrack.private_folder import state_folder

    workspace = state_folder() / _WORKSPACE
    say(f"Workspace: {workspace}")
    return workspace
