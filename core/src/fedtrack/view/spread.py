"""Spread: the statistics of one metric over sites, as numpy computes them, without numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The values of a metric at the sites that have one.

    Attributes:
        sites: How many sites have a finite value.
        mean: The mean of the sites.
        weighted_mean: The mean, with each site's weight.
        min: The least value.
        p10: The 10th percentile; quantiles are numpy's ``linear`` ones.
        p50: The median.
        p90: The 90th percentile.
        max: The greatest value.
        std: The standard deviation of the sites, of all of them and not of a sample.
        weighted_std: The same, with each site's weight.
    """

    sites: int
    mean: float
    weighted_mean: float
    min: float
    p10: float
    p50: float
    p90: float
    max: float
    std: float
    weighted_std: float


def spread_of(values: Mapping[str, float], weights: Mapping[str, float]) -> Spread | None:
    """Return the spread of the finite values; None if there is none.

    Args:
        values: By site.
        weights: By site; a site without a positive weight counts as 1.
    """
    finite = {site: value for site, value in values.items() if math.isfinite(value)}
    if not finite:
        return None
    ordered = sorted(finite.values())
    shares = [_weight(weights.get(site, 1.0)) for site in finite]
    mean, std = _moments(list(finite.values()), [1.0] * len(finite))
    weighted_mean, weighted_std = _moments(list(finite.values()), shares)
    return Spread(
        len(ordered),
        mean,
        weighted_mean,
        ordered[0],
        quantile(ordered, 0.1),
        quantile(ordered, 0.5),
        quantile(ordered, 0.9),
        ordered[-1],
        std,
        weighted_std,
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return a quantile of ascending values, bit by bit as ``numpy.quantile(method="linear")``.

    Args:
        ordered: At least one value.
        q: From 0 to 1.
    """
    place = (len(ordered) - 1) * q
    low = math.floor(place)
    part = place - low
    a, b = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
    difference = b - a
    return b - difference * (1 - part) if part >= 0.5 else a + difference * part


def worst_site(values: Mapping[str, float], better: str) -> str:
    """Return the site with the worst value: NaN is worse than every number; of equal ones the first by name."""
    sign = 1.0 if better == "higher" else -1.0

    def badness(site: str) -> tuple[bool, float]:
        value = values[site]
        return (False, 0.0) if math.isnan(value) else (True, sign * value)

    return min(sorted(values), key=badness)


def _weight(weight: float) -> float:
    return weight if math.isfinite(weight) and weight > 0 else 1.0


def _moments(values: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """Return the weighted mean and standard deviation; sums are exact, and one beyond a float64 is infinite."""
    try:
        total = math.fsum(weights)
        mean = math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / total
        squares = ((value - mean) ** 2 * weight for value, weight in zip(values, weights, strict=True))
        return mean, math.sqrt(math.fsum(squares) / total)
    except OverflowError:
        return math.inf, math.inf
