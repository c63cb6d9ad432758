"""Tables: the rows of a dict, a DataFrame or a table of W&B, as JSON for programs and as Markdown for readers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedtrack.tracking.normalise import Refused, item, shorten

#: Rows and characters of a cell that the Markdown shows; the JSON has everything.
_SHOWN_ROWS = 100
_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; every row has a value for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def joined(self, other: Table) -> Table:
        """Return a table with the rows of both; a column that one of them lacks is None there."""
        columns = tuple(dict.fromkeys((*self.columns, *other.columns)))
        parts = (dict(zip(table.columns, row, strict=True)) for table in (self, other) for row in table.rows)
        return Table(columns, tuple(tuple(part.get(column) for column in columns) for part in parts))

    def json(self) -> bytes:
        """Return ``{"columns": [...], "data": [...]}``, the format of ``mlflow.log_table`` and of W&B's tables."""
        content = {"columns": self.columns, "data": self.rows}
        return json.dumps(content, default=str, allow_nan=False).encode()

    def markdown(self) -> str:
        """Return the first rows as a table in Markdown."""
        head = [_line(self.columns), _line(["---"] * len(self.columns))]
        lines = [*head, *(_line(row) for row in self.rows[:_SHOWN_ROWS])]
        if (more := len(self.rows) - _SHOWN_ROWS) > 0:
            lines.append(f"\n{more:,} more rows")
        return "\n".join(lines)


def table_of(data: Any, columns: Sequence[Any] | None = None) -> Table:
    """Return ``data`` as a table.

    Args:
        data: A dict of columns or of single values, a DataFrame, an object with ``columns`` and ``data``, or rows.
        columns: The names of the columns, if ``data`` is a list of rows.

    Raises:
        Refused: It is none of these, or its columns have different lengths.
    """
    if hasattr(data, "to_dict") and hasattr(data, "columns"):  # a DataFrame
        split = data.to_dict(orient="split")
        return _built(split["columns"], split["data"])
    if isinstance(data, Mapping):
        return _of_columns(data)
    if hasattr(data, "columns") and hasattr(data, "data"):
        return _built(data.columns, data.data)
    rows = [row if isinstance(row, list | tuple) else [row] for row in data]
    return _built(range(len(rows[0]) if rows else 0) if columns is None else columns, rows)


def _of_columns(data: Mapping[Any, Any]) -> Table:
    listed = {key: value for key, value in data.items() if isinstance(value, list | tuple) or hasattr(value, "tolist")}
    if len(listed) < len(data):  # single values make one row, as for mlflow.log_table
        return _built(list(data), [list(data.values())])
    values = [list(value.tolist() if hasattr(value, "tolist") else value) for value in listed.values()]
    if len({len(column) for column in values}) > 1:
        sizes = ", ".join(f"{key}: {len(column)}" for key, column in zip(listed, values, strict=True))
        raise Refused(f"the columns of the table have different lengths ({sizes})")
    return _built(list(listed), list(zip(*values, strict=True)))


def _built(columns: Any, rows: Any) -> Table:
    names = tuple(str(column) for column in columns)
    content = tuple(tuple(_cell(value) for value in row) for row in rows)
    if wrong := next((row for row in content if len(row) != len(names)), None):
        raise Refused(
            f"a row of the table has {len(wrong)} values, and there are {len(names)} columns: {shorten(wrong)}"
        )
    return Table(names, content)


def _cell(value: Any) -> Any:
    found = item(value)
    if isinstance(found, float) and not math.isfinite(found):
        return None if math.isnan(found) else str(found)  # JSON has no such numbers
    if found is None or isinstance(found, str | int | float | bool):
        return found
    if isinstance(found, list | tuple):
        return [_cell(part) for part in found]
    if isinstance(found, Mapping):
        return {str(key): _cell(part) for key, part in found.items()}
    return str(found)


def _line(cells: Sequence[Any]) -> str:
    shown = (str("" if cell is None else cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(' '.join(cell.split())[:_SHOWN_CHARS] for cell in shown)} |"
