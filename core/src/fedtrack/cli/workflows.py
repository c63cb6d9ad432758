"""``fedtrack workflows``: the workflows that a job can name, and their arguments."""

from __future__ import annotations

from typing import Any

import typer

from fedtrack.cli.table import AsJson, plugin_row, show
from fedtrack.output import echo

app = typer.Typer(name="workflows", help="The installed workflows.", no_args_is_help=True)

_COLUMNS = ("name", "package", "version", "state", "arguments", "summary")


@app.command("list")
def list_workflows(as_json: AsJson = False) -> None:
    """List every workflow with its arguments, and every plugin that could not be used."""
    from fedtrack.plugins import State, registry
    from fedtrack.plugins.workflow import summary_of

    found = registry()
    rows: list[dict[str, Any]] = [
        plugin_row(found.owner("workflow", name))
        | {
            "name": name,
            "arguments": [field for field in cls.__struct_fields__ if field not in cls.ignored],
            "summary": summary_of(cls),
        }
        for name, cls in sorted(found.workflows.items())
    ]
    rows += [plugin_row(plugin) | {"arguments": []} for plugin in found.plugins if plugin.state is not State.LOADED]
    show(rows, _COLUMNS, as_json=as_json)
    if not rows and not as_json:
        echo("No workflow is installed; try: pip install 'fedtrack[local]'")
