"""``fedtrack writers``: the writers that a training script can import."""

from __future__ import annotations

import typer

from fedtrack.cli.table import COLUMNS, AsJson, kinds, plugin_row, show
from fedtrack.output import echo

app = typer.Typer(name="writers", help="The installed writers.", no_args_is_help=True)


@app.command("list")
def list_writers(as_json: AsJson = False) -> None:
    """List every writer, how a script imports it, and every plugin that could not be used."""
    from fedtrack.plugins import State, registry

    found = registry()
    rows = [
        plugin_row(found.owner("writer", cls.name))
        | {
            "name": cls.name,
            "supports": kinds(cls.supports),
            "summary": cls.summary,
            "import": f"from fedtrack.client.tracking import {cls.__name__}",
        }
        for cls in sorted(found.writers.values(), key=lambda cls: cls.name)
    ]
    rows += [plugin_row(plugin) for plugin in found.plugins if plugin.state is not State.LOADED]
    show(rows, (*COLUMNS, "import"), as_json=as_json)
    if not rows and not as_json:
        from fedtrack.plugins import remedy

        echo(f"No writer is installed; try: {remedy.install('fedtrack-mlflow')}")
