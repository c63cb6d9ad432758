"""Standing: how each site does beside the others: its values against the median, its time, and what is wrong with it.

Who, when and by how much is said, and never why: the journal does not hold causes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from fedtrack_ui.across import Across
from fedtrack_ui.quantiles import median
from fedtrack_ui.timeline import SITES_WITH_PROCESSES, Timeline

#: A site is slow from this multiple of the usual seconds on, if the difference is more than ``_SLOW_SECONDS``.
SLOW, _SLOW_SECONDS = 1.5, 0.05
#: With more than ``SITES_WITH_PROCESSES`` sites, a laggard is named only from so many spreads on.
_FAR = 1.2
_RECENT = 5
#: Of two sites, one is always the worse one.
_LEAST_SITES = 3


class SiteStanding(NamedTuple):
    """One site.

    Attributes:
        site: Its name.
        last: Its last value of the metric.
        difference: The median difference to the median of all sites, over the last places.
        lag: By how much it is worse than the median, recently and now; None if that is not known.
        is_far: Whether the lag is large, compared with the usual spread.
        took: In how many rounds it took part.
        seconds: Its usual seconds in a round.
        ratio: These, as a multiple of all sites' usual seconds.
        is_slow: Whether it is clearly slower than the others.
        silent: For how many rounds it has logged nothing, though it takes part.
        error: Why it failed, or "".
    """

    site: str
    last: float | None
    difference: float | None
    lag: float | None
    is_far: bool
    took: int
    seconds: float | None
    ratio: float | None
    is_slow: bool
    silent: int
    error: str


class Standings(NamedTuple):
    """All sites.

    Attributes:
        sites: Each site, those that stand out first.
        laggard: The site that lags most, or "".
        is_flat: Whether all sites always have the same value.
        is_coarse: Whether sites have only a few different values, so that none can be told to lag.
        usual: The usual spread: from the 10th to the 90th percentile.
    """

    sites: list[SiteStanding]
    laggard: str
    is_flat: bool
    is_coarse: bool
    usual: float

    @property
    def far(self) -> list[SiteStanding]:
        """The sites that lag by much."""
        return [one for one in self.sites if one.is_far and not one.error and not one.silent]


def standings(found: Across, times: Timeline, sites: list[str], failed: Mapping[str, str]) -> Standings:
    """Return how each site does.

    Args:
        found: The metric over all sites.
        times: The rounds.
        sites: Every site.
        failed: Why sites failed.
    """
    typical = median(times.usual.get(site) for site in sites)
    usual = _usual_spread(found)
    spread = [
        place.max - place.min
        for place in found.places
        if place.n > 1 and place.max is not None and place.min is not None
    ]
    is_flat = not any(width > 1e-12 for width in spread)
    rows = [_one(site, found, times, typical, usual, failed.get(site, "")) for site in sites]
    is_coarse = _is_coarse(found, len(sites))
    late = [one for one in rows if one.lag is not None and one.lag > 0 and not one.error and not one.silent]
    if is_flat or is_coarse or len(sites) < _LEAST_SITES:
        late = []
    if len(sites) > SITES_WITH_PROCESSES:
        late = [one for one in late if one.is_far]
    laggard = max(late, key=lambda one: one.lag or 0.0).site if late else ""
    return Standings(sorted(rows, key=_rank), laggard, is_flat, is_coarse, usual)


def _one(site: str, found: Across, times: Timeline, typical: float | None, usual: float, error: str) -> SiteStanding:
    sign = 1.0 if found.low else -1.0
    values = found.sites.get(site, [])
    known = [(at, value) for at, value in enumerate(values) if value is not None and math.isfinite(value)]
    apart = [value - middle for at, value in known if (middle := found.places[at].p50) is not None]
    recent = [
        value - middle
        for at, value in known
        if at >= len(values) - _RECENT and (middle := found.places[at].p50) is not None
    ]
    difference = median(recent)
    lag = None if difference is None else sign * (difference + apart[-1]) / 2
    took_seconds = times.usual.get(site)
    ratio = took_seconds / typical if took_seconds is not None and typical else None
    is_slow = (
        not times.shared
        and took_seconds is not None
        and typical is not None
        and took_seconds > typical * SLOW
        and took_seconds - typical > _SLOW_SECONDS
    )
    return SiteStanding(
        site,
        known[-1][1] if known else None,
        difference,
        lag,
        lag is not None and lag > max(_FAR * usual, 1e-9),
        sum(site in one.sites for one in times.rounds),
        took_seconds,
        ratio,
        is_slow,
        0 if error else times.silent(site),
        error,
    )


def _usual_spread(found: Across) -> float:
    """Return the median distance from the 10th to the 90th percentile."""
    widths = (
        place.p90 - place.p10
        for place in found.places
        if place.n > 3 and place.p90 is not None and place.p10 is not None
    )
    return median(widths) or 0.0


def _is_coarse(found: Across, sites: int) -> bool:
    """Return whether sites can have only a few values, as if each scored one or two samples."""
    if sites <= 12:
        return False
    last = next((at for at in range(len(found.places) - 1, -1, -1) if found.places[at].n), None)
    if last is None:
        return False
    return len({values[last] for values in found.sites.values() if values[last] is not None}) <= 4


def _rank(one: SiteStanding) -> tuple[bool, bool, bool, float]:
    return (not one.error, not one.silent, not one.is_slow, math.inf if one.lag is None else -one.lag)
