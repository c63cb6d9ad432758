"""``fedtrack receivers``: which receivers are installed, and what each takes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fedtrack.cli.table import AsJson, show_rows

app = typer.Typer(name="receivers", help="The installed receivers.", no_args_is_help=True)


@app.command("list")
def list_receivers(as_json: AsJson = False) -> None:
    """List every receiver, and every plugin that could not be used."""
    from fedtrack.plugins import State, registry

    found = registry()
    rows = [_row(found, cls) for cls in sorted(found.receivers.values(), key=lambda cls: cls.name)]
    rows += [
        {"name": p.name, "package": p.package, "version": p.version, "state": p.state.value, "summary": p.reason}
        for p in found.plugins
        if p.state is not State.LOADED
    ]
    show_rows(rows, ("name", "package", "version", "state", "supports", "summary"), as_json=as_json)
    if not rows and not as_json:
        typer.echo("No receiver is installed; try: pip install 'fedtrack[tensorboard]'")


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A receiver's name, class name or alias.")], as_json: AsJson = False
) -> None:
    """Show one receiver: where it comes from and the arguments it takes."""
    import msgspec

    from fedtrack.plugins import registry

    found = registry()
    cls = found.receiver(name)
    row = _row(found, cls)
    fields = msgspec.structs.fields(cls.Options)
    arguments = [
        {
            "name": field.name,
            "type": _type_name(field.type),
            "default": "required" if field.required else repr(field.default),
        }
        for field in fields
    ]
    if as_json:
        typer.echo(json.dumps(row | {"aliases": list(cls.aliases), "arguments": arguments}, indent=2))
        return
    for key, value in row.items():
        typer.echo(f"{key + ':':<10} {value}")
    if cls.aliases:
        typer.echo(f"{'aliases:':<10} {', '.join(cls.aliases)}")
    typer.echo("arguments:")
    for argument in arguments:
        typer.echo(f"  {argument['name']}: {argument['type']} = {argument['default']}")


def _row(found: Any, cls: Any) -> dict[str, str]:
    from fedtrack.tracking.records import KINDS

    plugin = found.owner("receiver", cls.name)
    state, reason = found.state_of(cls)
    return {
        "name": cls.name,
        "package": plugin.package,
        "version": plugin.version,
        "state": state.value,
        "supports": ",".join(name for name, kind in KINDS.items() if kind in cls.supports),
        "summary": reason or cls.summary,
    }


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")
