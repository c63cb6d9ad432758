"""Prints rows as a table for people or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

#: The option that every listing has.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool = False) -> None:
    """Print ``rows``: all of their keys as JSON, or ``columns`` as an aligned table."""
    if as_json:
        typer.echo(json.dumps(list(rows), indent=2, default=str))
        return
    cells = [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)]
    typer.echo(_line([column.upper() for column in columns], widths))
    for line in cells:
        typer.echo(_line(line, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
