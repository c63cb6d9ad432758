"""``fedtrack engines``: where a job can run."""

from __future__ import annotations

import typer

from fedtrack.cli.table import AsJson, plugin_row, show

app = typer.Typer(name="engines", help="The installed engines.", no_args_is_help=True)


@app.command("list")
def list_engines(as_json: AsJson = False) -> None:
    """List every engine, and every plugin that could not be used."""
    from fedtrack.plugins import State, registry

    found = registry()
    rows = [
        plugin_row(found.owner("engine", name)) | {"name": name, "summary": cls.summary}
        for name, cls in sorted(found.engines.items())
    ]
    rows += [plugin_row(plugin) for plugin in found.plugins if plugin.state is not State.LOADED]
    show(rows, ("name", "package", "version", "state", "summary"), as_json=as_json)
