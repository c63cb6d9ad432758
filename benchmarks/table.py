"""A result table in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Table:
    """What one benchmark found.

    Attributes:
        title: What was measured, as a heading.
        columns: Headings; the first one says what a row is.
        rows: Their cells, formatted already.
        note: What a reader has to know to judge the figures, in Markdown.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    def markdown(self) -> str:
        """Return the rows under their columns, and the note."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        cells = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
        return f"{cells}\n\n{self.note}".strip()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], show: Callable[[float], str] = "{:,.2f}".format) -> str:
    """Return the median of repeated measurements, with the least and the greatest of them."""
    if len(values) == 1:
        return show(values[0])
    return f"{show(median(values))} ({show(min(values))} to {show(max(values))})"


def seconds_text(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
