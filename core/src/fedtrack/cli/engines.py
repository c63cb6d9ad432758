"""``fedtrack engines``: the installed engines, and the check of a job against a target."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from fedtrack.cli.table import AsJson, plugin_row, show
from fedtrack.output import echo

app = typer.Typer(name="engines", help="Where jobs can run.", no_args_is_help=True)

Engine = Annotated[str, typer.Argument(help="An engine's name.")]


@app.command("list")
def list_engines(as_json: AsJson = False) -> None:
    """List every engine, and every plugin that could not be used; imports no engine."""
    from fedtrack.plugins import State, registry

    found = registry()
    rows = [
        plugin_row(found.owner("engine", name)) | {"name": name, "summary": cls.summary}
        for name, cls in sorted(found.engines.items())
    ]
    rows += [plugin_row(plugin) for plugin in found.plugins if plugin.state is not State.LOADED]
    show(rows, ("name", "package", "version", "state", "summary"), as_json=as_json)


@app.command()
def info(name: Engine, as_json: AsJson = False) -> None:
    """Show what an engine can do."""
    import msgspec

    from fedtrack.partial_engine import open_engine

    with closing(open_engine(name)) as engine:
        caps = msgspec.to_builtins(engine.caps())
    if as_json:
        echo(json.dumps(caps, indent=2))
        return
    for key, value in caps.items():
        echo(f"{key + ':':<16} {value}")


@app.command()
def check(
    name: Engine,
    job: Annotated[Path, typer.Argument(help="An exported job.")],
    target: Annotated[str, typer.Option(help="Where it would run; see the engine's documentation.")],
) -> None:
    """Check a job against a target, without sending it."""
    from fedtrack.partial_engine import open_engine

    with closing(open_engine(name)) as engine:
        problems = engine.check(job, target)
    for problem in problems:
        echo(f"{'error' if problem.fatal else 'note'}: {problem.message}")
    if any(problem.fatal for problem in problems):
        raise typer.Exit(2)
    echo(f"{job} can run on {target}.")
