"""StreamData: one metric of a few sites step by step, as the buckets of their series."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from fedtrack_ui.plain import plains
from fedtrack_ui.rollup import reading

#: The most sites that are drawn step by step at once.
SITES = 24


def stream_data(database: sqlite3.Connection, metric: str, sites: Iterable[str]) -> dict[str, Any]:
    """Return the series of some sites, column by column; what has no step is counted from 0.

    Args:
        database: The view file.
        metric: The metric.
        sites: The sites; only the first ``SITES`` are returned.
    """
    return {"metric": metric, "series": {site: _columns(database, metric, site) for site in list(sites)[:SITES]}}


def _columns(database: sqlite3.Connection, metric: str, site: str) -> dict[str, Any]:
    buckets = reading.buckets(database, site, metric)
    counts = [0]
    for one in buckets:
        counts.append(counts[-1] + one.n)
    has_steps = all(one.step0 is not None and one.step1 is not None for one in buckets)
    return {
        "points": counts[-1],
        "has_steps": has_steps,
        "x0": [one.step0 for one in buckets] if has_steps else counts[:-1],
        "x1": [one.step1 for one in buckets] if has_steps else [count - 1 for count in counts[1:]],
        "t0": [one.time0 / 1e6 for one in buckets],
        "t1": [one.time1 / 1e6 for one in buckets],
        "round": [one.round for one in buckets],
        "n": [one.n for one in buckets],
        "nan": [one.nan for one in buckets],
        **{name: plains(getattr(one, name) for one in buckets) for name in ("first", "low", "high", "last", "mean")},
    }
