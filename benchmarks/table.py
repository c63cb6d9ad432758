"""A result table in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Table:
    """The result of one benchmark.

    Attributes:
        title: The measured quantity, as a heading.
        columns: The headings of the columns; the first column names the rows.
        rows: The cells, already formatted.
        note: Explanations that a reader needs to judge the figures, in Markdown.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    def markdown(self) -> str:
        """Return the table and the note as Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        cells = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
        return f"{cells}\n\n{self.note}".strip()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], show: Callable[[float], str] = "{:,.2f}".format) -> str:
    """Return the median of repeated measurements, with the smallest and the largest one."""
    if len(values) == 1:
        return show(values[0])
    return f"{show(median(values))} ({show(min(values))} to {show(max(values))})"


def seconds_text(seconds: float) -> str:
    """Return a duration in a suitable unit."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
