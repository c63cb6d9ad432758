"""Points: the records that show one round over its sites."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence

from fedtrack.tracking.records import Metric, Record, Tag
from fedtrack.view.direction import guessed
from fedtrack.view.round_fold import RoundFold
from fedtrack.view.site_work import durations
from fedtrack.view.spread import spread_of, worst_site
from fedtrack.view.view_state import ViewState

log = logging.getLogger(__name__)

#: The prefix of what is computed over sites.
PREFIX = "across_sites"
#: Of more metrics in a round, those that come first by name are shown.
MOST_METRICS = 200
#: With more sites, only the spread of their times is shown, and not each of them.
MOST_SITES = 20
#: The longest name of a metric, in UTF-8 bytes.
_LONGEST_KEY = 1024


def points_of(fold: RoundFold, state: ViewState, mode: str, sites: Sequence[str], now_ns: int) -> list[Record]:
    """Return the records of one round; ``state.worst`` and ``state.missed`` are brought up to date.

    Args:
        fold: The round.
        state: The view's state.
        mode: See ``ViewOptions.mode``.
        sites: The sites of the run; may be empty if nobody has named them.
        now_ns: The time of the records.
    """
    found: list[Record] = []
    metrics = {key: values for key, values in fold.metrics(mode).items() if len(values) > 1}
    if len(metrics) > MOST_METRICS:
        log.warning(
            "round %d: sites have %d metrics in common, the view shows %d", fold.number, len(metrics), MOST_METRICS
        )
    for key in sorted(metrics)[:MOST_METRICS]:
        found += _band(key, metrics[key], fold.weights(key), fold.number, now_ns)
        found += _worst(key, metrics[key], state, now_ns)
    if fold.parts and not fold.final:
        found += _work(fold, state, sites, now_ns)
    return found


def band_of(key: str, values: Mapping[str, float], weights: Mapping[str, float], x: int, now_ns: int) -> list[Record]:
    """Return the records of one metric over the sites that have it."""
    return list(_band(key, values, weights, x, now_ns))


def _band(key: str, values: Mapping[str, float], weights: Mapping[str, float], x: int, now_ns: int) -> Iterator[Record]:
    name = f"{PREFIX}/{key}/"
    if len(name.encode()) > _LONGEST_KEY - len("weighted_mean"):
        return
    spread = spread_of(values, weights)
    n = spread.sites if spread is not None else 0
    if spread is not None:
        for field in spread._fields[1:]:
            yield Metric(now_ns, name + field, getattr(spread, field), x, n)
    yield Metric(now_ns, f"{name}sites", float(n), x, n)
    if n < len(values):
        yield Metric(now_ns, f"{name}not_finite", float(len(values) - n), x, len(values) - n)


def _worst(key: str, values: Mapping[str, float], state: ViewState, now_ns: int) -> Iterator[Record]:
    better = state.better.get(key) or guessed(key)
    if not better or len(f"{PREFIX}/{key}/worst_site".encode()) > _LONGEST_KEY:
        return
    site = worst_site(values, better)
    if state.worst.get(key) != site:
        state.worst[key] = site
        yield Tag(now_ns, f"{PREFIX}/{key}/worst_site", site)


def _work(fold: RoundFold, state: ViewState, sites: Sequence[str], now_ns: int) -> Iterator[Record]:
    """Yield where the sites' time went, and what crossed the network."""
    parts, x = fold.parts, fold.number
    valid = {site: part for site, part in parts.items() if part.is_valid}
    for site in {*sites, *parts} - valid.keys():
        state.missed[site] = state.missed.get(site, 0) + 1
    spent = durations(valid)
    weights = {site: part.weight for site, part in valid.items()}
    columns: dict[str, dict[str, float]] = {
        f"{field}_seconds": {site: getattr(one, field) for site, one in spent.items()}
        for field in ("training", "transfer", "waiting")
    }
    columns["rounds_missed"] = {site: float(state.missed.get(site, 0)) for site in {*sites, *parts}}
    yield Metric(now_ns, "round/bytes_to_sites", float(sum(part.sent for part in parts.values())), x, len(parts))
    yield Metric(now_ns, "round/bytes_from_sites", float(sum(part.received for part in valid.values())), x, len(valid))
    yield Metric(now_ns, "round/sites_asked", float(len(parts)), x, len(parts))
    if len(columns["rounds_missed"]) > MOST_SITES:
        for name, values in columns.items():
            yield from _band(f"round/{name}", _known(values), weights, x, now_ns)
        return
    columns["steps"] = weights
    columns["bytes_to"] = {site: float(part.sent) for site, part in parts.items()}
    columns["bytes_from"] = {site: float(part.received) for site, part in valid.items()}
    for name, values in columns.items():
        for site, value in sorted(_known(values).items()):
            yield Metric(now_ns, f"sites/{site}/{name}", value, x)


def _known(values: Mapping[str, float]) -> dict[str, float]:
    return {site: value for site, value in values.items() if not math.isnan(value)}
