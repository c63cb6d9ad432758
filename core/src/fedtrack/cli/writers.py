"""``fedtrack writers``: which writers a training script can import."""

from __future__ import annotations

import typer

from fedtrack.cli.table import AsJson, show_rows

app = typer.Typer(name="writers", help="The installed writers.", no_args_is_help=True)


@app.command("list")
def list_writers(as_json: AsJson = False) -> None:
    """List every writer and how a script imports it."""
    from fedtrack.plugins import registry

    found = registry()
    rows = []
    for cls in sorted(found.writers.values(), key=lambda cls: cls.name):
        plugin = found.owner("writer", cls.name)
        rows.append(
            {
                "name": cls.name,
                "package": plugin.package,
                "version": plugin.version,
                "state": plugin.state.value,
                "import": f"from fedtrack.client.tracking import {cls.__name__}",
                "summary": cls.summary,
            }
        )
    show_rows(rows, ("name", "package", "version", "state", "import", "summary"), as_json=as_json)
