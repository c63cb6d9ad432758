"""Statistics: quantiles and medians of a few numbers, defined as numpy's ``linear`` method does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of ascending values, of which there is at least one."""
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are not None; None if there is none."""
    ordered = sorted(value for value in values if value is not None)
    return quantile(ordered, 0.5) if ordered else None
