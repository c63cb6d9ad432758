"""Across: one metric over all sites, by round or, for a run without rounds, by step or time.

For each place: how many sites, their mean, the smallest and largest value with the site, the 10th percentile, the
median and the 90th. NaN and infinity are no part of these numbers; they are listed with the site's name.
"""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from fedtrack_ui.quantiles import quantile
from fedtrack_ui.rollup import reading
from fedtrack_ui.words import is_higher_better, is_lower_better

#: The most places on the axis of steps or of time.
PLACES = 200
#: Values by site, one per place; None where the site has none.
Grid: TypeAlias = dict[str, list[float | None]]


class Place(NamedTuple):
    """The statistics of one place; None everywhere but in ``n`` if no site has a finite value."""

    n: int
    mean: float | None = None
    min: float | None = None
    p10: float | None = None
    p50: float | None = None
    p90: float | None = None
    max: float | None = None
    lowest: str = ""
    highest: str = ""


class Across(NamedTuple):
    """A metric over all sites.

    Attributes:
        axis: ``round``, ``step`` or ``time``.
        x: The places: rounds counted from 0, steps, or nanoseconds since the epoch.
        sites: The values by site; NaN and infinity as they are.
        places: The statistics of each place.
        server: The server's own values, such as the weighted mean of a round.
        final: The server's value after the last round; None if there is none.
        odd: (place, site, value) of each value that is not finite.
        low: Whether a smaller value is better.
        is_directed: Whether a script or the name says which values are better.
    """

    axis: str
    x: list[int]
    sites: Grid
    places: list[Place]
    server: list[float | None]
    final: float | None
    odd: list[tuple[int, str, float]]
    low: bool = False
    is_directed: bool = True


def across(database: sqlite3.Connection, key: str, axis: str = "round", rounds: int = 0) -> Across:
    """Return a metric over all sites.

    Args:
        database: The view file.
        key: The metric.
        axis: ``round``, ``step`` or ``time``; ``round`` becomes ``step`` if no value belongs to a round.
        rounds: The least number of rounds to show.
    """
    said = reading.directions(database).get(key)
    low = is_lower_better(key) if said is None else said
    is_directed = said is not None or low or is_higher_better(key)
    if axis == "round":
        found = reading.cells(database, key)
        numbers = [number for by in found.values() for number in by if number >= 0]
        if numbers:
            by_round = _by_round(found, max(rounds, max(numbers) + 1))
            return by_round._replace(low=low, is_directed=is_directed)
        axis = "step"
    return _by_step(database, key, axis)._replace(low=low, is_directed=is_directed)


def _by_round(found: Mapping[str, Mapping[int, reading.Cell]], rounds: int) -> Across:
    grid = {site: [_last(by, number) for number in range(rounds)] for site, by in found.items()}
    server = grid.pop("server", None) or [None] * rounds
    final = found.get("server", {}).get(-1)
    grid = {site: grid[site] for site in ordered(grid) if not site.startswith("@")}
    return _with_places("round", list(range(rounds)), grid, server, None if final is None else final.last)


def _last(by: Mapping[int, reading.Cell], number: int) -> float | None:
    cell = by.get(number)
    return None if cell is None else cell.last


def _by_step(database: sqlite3.Connection, key: str, axis: str) -> Across:
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for site in [*reading.sites_of(database, key), "server"]:
        buckets = reading.buckets(database, site, key)
        if axis == "step" and any(one.step1 is None for one in buckets):
            counted, total = [], 0
            for one in buckets:
                total += one.n
                counted.append(total - 1)
        else:
            counted = [int(one.step1 if axis == "step" else one.time1) for one in buckets]  # type: ignore[arg-type]
        if buckets:
            pairs = sorted(zip(counted, (one.last for one in buckets), strict=True), key=lambda pair: pair[0])
            lines[site] = ([x for x, _ in pairs], [value for _, value in pairs])
    x = _places_of([xs for site, (xs, _) in lines.items() if site != "server" or len(lines) == 1])
    grid = {site: _at(xs, values, x) for site, (xs, values) in lines.items()}
    server = grid.pop("server", None) or [None] * len(x)
    return _with_places(axis, x, grid, server, None)


def _places_of(lines: Sequence[Sequence[int]]) -> list[int]:
    """Return the places: every one that occurs if they are few, or else places at equal distances."""
    every = sorted({x for xs in lines for x in xs})
    if len(every) <= PLACES:
        return every
    low, high = every[0], every[-1]
    return [low + (high - low) * i // (PLACES - 1) for i in range(PLACES)]


def _at(xs: Sequence[int], values: Sequence[float], places: Sequence[int]) -> list[float | None]:
    """Return the last value up to each place; None before the first point and after the last one."""
    found: list[float | None] = []
    before = None
    for place in places:
        at = bisect_right(xs, place) - 1
        is_over = at == len(xs) - 1 and before == at and xs[at] < place
        found.append(None if at < 0 or is_over else values[at])
        before = at
    return found


def _with_places(axis: str, x: list[int], grid: Grid, server: list[float | None], final: float | None) -> Across:
    odd = [
        (at, site, value)
        for site, values in grid.items()
        for at, value in enumerate(values)
        if value is not None and not math.isfinite(value)
    ]
    places = [place_of({site: values[at] for site, values in grid.items()}) for at in range(len(x))]
    return Across(axis, x, grid, places, server, final, odd)


def place_of(values: Mapping[str, float | None]) -> Place:
    """Return the statistics of the finite ones of some sites' values."""
    named = sorted((value, site) for site, value in values.items() if value is not None and math.isfinite(value))
    if not named:
        return Place(0)
    found = [value for value, _ in named]
    mean = math.fsum(found) / len(found)
    tenth, middle, ninetieth = (quantile(found, share) for share in (0.1, 0.5, 0.9))
    return Place(len(found), mean, found[0], tenth, middle, ninetieth, found[-1], named[0][1], named[-1][1])


def ordered(sites: Any) -> list[str]:
    """Return names so that site-2 comes before site-10."""
    return sorted(sites, key=lambda name: (len(name), name))
