"""Table: rows are printed as a table for people or as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtrack.output import echo

if TYPE_CHECKING:
    from fedtrack.plugins.plugin_registry import Plugin

#: The option that every listing has.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: The columns of every listing of plugins, receivers and writers.
COLUMNS = ("name", "package", "version", "state", "supports", "summary")


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print ``rows``: all of their keys as JSON, or ``columns`` as an aligned table.

    On a terminal that is too narrow for the table, each row is a block of lines.
    """
    if as_json:
        echo(json.dumps(list(rows), indent=2, default=str))
        return
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)]
    lines = [_line([column.upper() for column in columns], widths), *(_line(line, widths) for line in cells)]
    if sys.stdout.isatty() and max(map(len, lines)) > get_terminal_size().columns:
        lines = _blocks(columns, cells)
    for text in lines:
        echo(text)


def plugin_row(plugin: Plugin) -> dict[str, Any]:
    """Return a plugin's row; for a broken plugin the reason and the remedy replace the summary."""
    problem = f"{plugin.reason}; to fix it: {plugin.remedy}" if plugin.remedy else plugin.reason
    return {
        "name": plugin.name,
        "package": plugin.package,
        "version": plugin.version,
        "state": plugin.state.value,
        "supports": [],
        "summary": problem or plugin.summary,
        "reason": plugin.reason,
        "remedy": plugin.remedy,
    }


def kinds(supported: frozenset[Any]) -> list[str]:
    """Return the names of record kinds, in the order in which they are documented."""
    from fedtrack.tracking.records import KINDS

    return [name for name, kind in KINDS.items() if kind in supported]


def _cell(value: Any) -> str:
    # A reason may be an exception's text of several lines, and a table has one line for each row.
    return ",".join(value) if isinstance(value, list) else " ".join(str(value).split())


def _blocks(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    width = max(map(len, columns))
    blocks = [
        [f"{column.upper():<{width}}  {cell}".rstrip() for column, cell in zip(columns, line, strict=True)]
        for line in cells
    ]
    return [text for index, block in enumerate(blocks) for text in (["", *block] if index else block)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
