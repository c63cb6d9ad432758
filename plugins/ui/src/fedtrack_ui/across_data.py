"""AcrossData: one metric over all sites, as the page draws it: the band, the lines of the sites, and their standing."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

from fedtrack_ui.across import Across, across
from fedtrack_ui.plain import Value, plain, plains
from fedtrack_ui.run_facts import RunFacts
from fedtrack_ui.standing import standings

#: The most cells of sites x places that are sent; more than that are merged to the worst of each group of places.
CELLS = 250_000


def across_data(database: sqlite3.Connection, facts: RunFacts, metric: str, axis: str) -> dict[str, Any]:
    """Return the data of one metric.

    Args:
        database: The view file.
        facts: The run.
        metric: The metric.
        axis: ``round``, ``step`` or ``time``.
    """
    found = across(database, metric, axis, len(facts.times.rounds))
    by = standings(found, facts.times, facts.sites, facts.failed)
    low = found.low
    merged = _merged(found, low=low)
    columns = ("n", "mean", "min", "p10", "p50", "p90", "max")
    return {
        "metric": metric,
        "axis": found.axis,
        "x": [number / 1e6 for number in found.x] if found.axis == "time" else found.x,
        "low": low,
        "server": plains(found.server),
        "final": plain(found.final),
        "places": {name: plains(getattr(place, name) for place in found.places) for name in columns},
        "lowest": [place.lowest for place in found.places],
        "highest": [place.highest for place in found.places],
        "sites": list(found.sites),
        "values": [merged[site] for site in found.sites],
        "merged": max(1, math.ceil(len(found.x) * len(found.sites) / CELLS)),
        "odd": [[at, site, plain(value)] for at, site, value in found.odd[:2000]],
        "laggard": by.laggard,
        "flat": by.is_flat,
        "coarse": by.is_coarse,
        "usual": plain(by.usual),
        "order": [one.site for one in by.sites if one.site in found.sites],
        "standing": {
            one.site: [plain(one.last), plain(one.difference), plain(one.lag), one.is_far] for one in by.sites
        },
    }


def _merged(found: Across, *, low: bool) -> dict[str, list[Value]]:
    group = max(1, math.ceil(len(found.x) * len(found.sites) / CELLS))
    if group == 1:
        return {site: plains(values) for site, values in found.sites.items()}
    sign = 1 if low else -1
    return {site: _worst(values, found, group, sign) for site, values in found.sites.items()}


def _worst(values: list[float | None], found: Across, group: int, sign: int) -> list[Value]:
    """Return the value of each group of places that is worst, compared with the median of its place."""
    kept: list[Value] = []
    for start in range(0, len(values), group):
        apart = [
            (sign * (value - (found.places[at].p50 or 0.0)), value)
            for at in range(start, min(start + group, len(values)))
            if (value := values[at]) is not None and math.isfinite(value)
        ]
        kept.append(plain(max(apart)[1]) if apart else None)
    return kept
