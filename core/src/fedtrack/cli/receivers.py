"""``fedtrack receivers``: the installed receivers, their arguments, and whether they work here."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fedtrack.cli.table import COLUMNS, AsJson, kinds, plugin_row, show
from fedtrack.output import echo

app = typer.Typer(name="receivers", help="The installed receivers.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A receiver's name, class name or alias.")]


@app.command("list")
def list_receivers(as_json: AsJson = False) -> None:
    """List every receiver, and every plugin that could not be used."""
    from fedtrack.plugins import State, registry

    found = registry()
    rows = [_row(found, cls) for cls in sorted(found.receivers.values(), key=lambda cls: cls.name)]
    rows += [plugin_row(plugin) for plugin in found.plugins if plugin.state is not State.LOADED]
    show(rows, COLUMNS, as_json=as_json)
    if not rows and not as_json:
        from fedtrack.plugins import remedy

        echo(f"No receiver is installed; try: {remedy.install('fedtrack[tensorboard]')}")


@app.command()
def info(name: Name, as_json: AsJson = False) -> None:
    """Show one receiver: its distribution, whether it can be used, and its arguments."""
    from fedtrack.plugins import registry

    found = registry()
    cls = found.find_receiver(name)
    row = _row(found, cls) | {"aliases": list(cls.aliases), "arguments": _arguments(cls)}
    if as_json:
        echo(json.dumps(row, indent=2))
        return
    for key in (*COLUMNS, "reason", "remedy", "aliases"):
        if value := row[key]:
            echo(f"{key + ':':<10} {', '.join(value) if isinstance(value, list) else value}")
    echo("arguments:")
    for argument in row["arguments"]:
        echo(f"  {argument['name']}: {argument['type']} = {argument['default']}")


@app.command()
def check(
    name: Name,
    args: Annotated[
        str, typer.Option(help='Its arguments as JSON, as in a job file: \'{"tracking_uri": "http://..."}\'.')
    ] = "{}",
    as_json: AsJson = False,
) -> None:
    """Load a receiver, open it for a temporary run, close it, and report each step.

    A backend that is a server then shows a job called fedtrack-check, without records.
    """
    from fedtrack.cli.receiver_check import check_receiver

    steps = check_receiver(name, args)
    show([step.row() for step in steps], ("step", "outcome", "seconds", "detail"), as_json=as_json)
    if any(step.failed for step in steps):
        raise typer.Exit(1)


def _row(found: Any, cls: Any) -> dict[str, Any]:
    row = plugin_row(found.owner("receiver", cls.name))
    state, reason = found.state_of(cls)
    shown = {"name": cls.name, "state": state.value, "supports": kinds(cls.supports), "summary": reason or cls.summary}
    remedy = found.remedy_of(cls) if reason else ""
    return row | shown | {"reason": reason, "remedy": remedy}


def _arguments(cls: Any) -> list[dict[str, str]]:
    import msgspec

    return [
        {"name": field.name, "type": _type_name(field.type), "default": _default(field)}
        for field in msgspec.structs.fields(cls.Options)
    ]


def _default(field: Any) -> str:
    import msgspec

    if field.required:
        return "required"
    return repr(field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory())


def _type_name(annotation: Any) -> str:
    # str() of a class is "<class 'int'>", but str() of list[str] is readable.
    return annotation.__name__ if type(annotation) is type else str(annotation).replace("typing.", "")
