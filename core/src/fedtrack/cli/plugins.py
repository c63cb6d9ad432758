"""``fedtrack plugins``: every installed plugin, usable or not."""

from __future__ import annotations

import typer

from fedtrack.cli.table import AsJson, show_rows

app = typer.Typer(name="plugins", help="The installed plugins.", no_args_is_help=True)


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List every plugin with its state and what it provides."""
    from fedtrack.plugins import registry

    found = registry()
    rows = []
    for plugin in found.plugins:
        provides = [f"{kind} {name}" for (kind, name), owner in found.owners.items() if owner is plugin]
        rows.append(
            {
                "name": plugin.name,
                "package": plugin.package,
                "version": plugin.version,
                "state": plugin.state.value,
                "provides": ", ".join(sorted(provides)),
                "reason": plugin.reason,
            }
        )
    show_rows(rows, ("name", "package", "version", "state", "provides", "reason"), as_json=as_json)
