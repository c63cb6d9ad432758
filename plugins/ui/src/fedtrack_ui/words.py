"""Words: numbers, times and counts as people read them; the page's own script writes them in the same way."""

from __future__ import annotations

import math
import re

_LOWER = re.compile(r"loss|error|err$|perplexity|rmse|mse|mae|divergence", re.IGNORECASE)
_HIGHER = re.compile(r"acc|auc|f1|score|dice|iou|precision|recall", re.IGNORECASE)
_SHARES = ("round/", "across_sites/", "site/", "system/")


def is_lower_better(metric: str) -> bool:
    """Return whether a smaller value is better, as far as the name tells."""
    return _LOWER.search(metric) is not None


def is_higher_better(metric: str) -> bool:
    """Return whether a larger value is better, as far as the name tells."""
    return _HIGHER.search(metric) is not None and not is_lower_better(metric)


def is_about_the_run(metric: str) -> bool:
    """Return whether a metric describes the run itself, such as its seconds, and not what it learns."""
    return metric.startswith(_SHARES)


def number(value: float | None) -> str:
    """Return a value with about four significant digits."""
    if value is None:
        return "-"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e5 or 0 < size < 1e-3:
        return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    digits = 0 if size >= 100 else 1 if size >= 10 else 3 if size >= 1 else 4
    return f"{value:.{digits}f}"


def seconds(value: float | None) -> str:
    """Return a time in the unit that suits it."""
    if value is None:
        return "-"
    for least, unit, factor, digits in (
        (5400, "h", 3600, 1),
        (90, "min", 60, 1),
        (10, "s", 1, 0),
        (1, "s", 1, 1),
        (0.001, "ms", 0.001, 0),
    ):
        if value >= least:
            return f"{value / factor:.{digits}f} {unit}"
    return "0 s" if value <= 0 else "under 1 ms"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def clipped(text: str, length: int = 18) -> str:
    """Return a text that is not longer than so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def names(sites: list[str]) -> str:
    """Return one or two names, or how many there are."""
    return plural(len(sites), "site") if len(sites) > 2 else ", ".join(clipped(site) for site in sites)
