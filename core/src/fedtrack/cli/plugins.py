"""``fedtrack plugins``: every installed plugin, usable or not, and the start of a new one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedtrack.cli.table import COLUMNS, AsJson, plugin_row, show
from fedtrack.output import echo, keep_output

app = typer.Typer(name="plugins", help="The installed plugins.", no_args_is_help=True)


class Kind(StrEnum):
    """The kinds of new plugins."""

    RECEIVER = "receiver"
    WRITER = "writer"
    WORKFLOW = "workflow"
    HOOKS = "hooks"


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List every plugin with its state and what it provides."""
    from fedtrack.plugins import registry

    found = registry()
    rows = []
    for plugin in found.plugins:
        provides = sorted(f"{kind} {name}" for (kind, name), owner in found.owners.items() if owner is plugin)
        rows.append(plugin_row(plugin) | {"supports": provides + [f"hook {name}" for name in found.hooks_of(plugin)]})
    show(rows, COLUMNS, as_json=as_json)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name for users, such as csv; the distribution is fedtrack-csv.")],
    kind: Annotated[Kind, typer.Option(help="The kind of the new plugin.")] = Kind.RECEIVER,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The folder to write; by default ./fedtrack-NAME.")
    ] = None,
) -> None:
    """Write a plugin project that can be installed, runs and passes its own tests without changes."""
    keep_output()
    from fedtrack.plugins import remedy
    from fedtrack.scaffold import write_project

    folder = write_project(name, kind.value, directory)
    echo(f"Wrote {folder}. Next:")
    echo(f"  cd {folder}")
    echo(f"  {remedy.install_here('-e', '.[dev]')}")
    echo("  pytest && mypy && ruff check")
    echo("  fedtrack plugins list")
