"""Departure: the round in which one site left the others most clearly, over all metrics with a known direction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from fedtrack_ui.across import Across
from fedtrack_ui.quantiles import median

#: The least number of sites among which one can leave the others.
_SITES = 5
#: The distance to the median, as a multiple of the second worst site's or of the usual spread.
LEAST = 2.5


class Departure(NamedTuple):
    """A site that left the others.

    Attributes:
        metric: By which metric.
        site: Who.
        at: In which round, counted from 0.
        value: The site's value.
        median: That of all sites.
        strength: The distance, as a multiple of the second worst site's or of the usual spread.
    """

    metric: str
    site: str
    at: int
    value: float
    median: float
    strength: float


def departure(found: Mapping[str, Across]) -> Departure | None:
    """Return the clearest departure; None if no site has clearly left the others.

    Args:
        found: Each metric over all sites, by round.
    """
    candidates = [
        one
        for metric, across in found.items()
        if across.axis == "round" and across.is_directed
        for one in _of_metric(metric, across)
    ]
    clear = [one for one in candidates if one.strength > LEAST]
    return max(clear, key=lambda one: one.strength, default=None)


def _of_metric(metric: str, across: Across) -> list[Departure]:
    sign = 1.0 if across.low else -1.0
    usual = median(
        place.p90 - place.p10
        for place in across.places
        if place.n > 3 and place.p10 is not None and place.p90 is not None
    )
    if not usual:
        return []
    found = []
    for at, place in enumerate(across.places):
        if place.n < _SITES or place.p50 is None:
            continue
        middle = place.p50
        apart = sorted(
            (
                (sign * (value - middle), site)
                for site, values in across.sites.items()
                if (value := values[at]) is not None and math.isfinite(value)
            ),
            reverse=True,
        )
        (most, site), (second, _) = apart[0], apart[1]
        value = across.sites[site][at]
        if value is not None and most > 0:
            found.append(Departure(metric, site, at, value, middle, most / max(second, usual)))
    return found
