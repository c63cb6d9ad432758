"""Figures: the curves across sites as PNG files for a paper, drawn by matplotlib where it is installed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedtrack.errors import PluginError
from fedtrack.runs import StoredRun
from fedtrack_ui.across import Across, across
from fedtrack_ui.followed_run import FollowedRun
from fedtrack_ui.run_facts import facts_of
from fedtrack_ui.words import is_about_the_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS_PER_INCH = 200
#: Blue and orange, which people with the usual colour blindnesses can tell apart; the second line is also dashed.
_COLOURS, _DASHES = ("#0b5cad", "#b83a00"), ("-", "--")


def write_figures(runs: Sequence[StoredRun], folder: Path) -> list[Path]:
    """Write one figure for each metric that sites log; of two runs, for each metric of both.

    Args:
        runs: One run, or two to compare.
        folder: The folder; created if it does not exist.

    Raises:
        PluginError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise PluginError(
            "Figures need matplotlib, which is not installed; install it with: pip install matplotlib"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    found = [_curves(run) for run in runs]
    written = []
    for metric in [key for key in found[0][1] if all(key in curves for _, curves in found)]:
        figure = Figure(figsize=(5.0, 3.2), dpi=_DOTS_PER_INCH, layout="constrained")
        axes = figure.add_subplot()
        for at, (title, curves) in enumerate(found):
            _draw(axes, curves[metric], title if len(found) > 1 else "", at)
        axes.set_xlabel("round" if found[0][1][metric].axis == "round" else "step")
        axes.set_ylabel(metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', metric)}.png"
        figure.savefig(path)
        written.append(path)
    return written


def _curves(run: StoredRun) -> tuple[str, dict[str, Across]]:
    """Return a run's title, and each metric that sites log."""
    followed = FollowedRun(run)
    try:
        followed.catch_up()
        with followed.reading() as database:
            facts = facts_of(followed.run, database)
            keys = [one.key for one in facts.metrics if one.sites and not is_about_the_run(one.key)]
            curves = {key: across(database, key, "round", len(facts.times.rounds)) for key in keys}
            return f"{facts.job} {facts.run.record.run_id[:7] if facts.run.record else ''}".strip(), curves
    finally:
        followed.close()


def _draw(axes: Axes, found: Across, title: str, at: int) -> None:
    x = list(found.x)
    colour = _COLOURS[at]
    if len(found.sites) > 1:
        for low, high, strength, what in (("min", "max", 0.10, "all sites"), ("p10", "p90", 0.20, "80 % of the sites")):
            least, most = ([_number(getattr(place, name)) for place in found.places] for name in (low, high))
            axes.fill_between(x, least, most, color=colour, alpha=strength, linewidth=0, label=_named(title, what))
    own = any(value is not None and math.isfinite(value) for value in found.server)
    line = [_number(value) for value in (found.server if own else [place.mean for place in found.places])]
    axes.plot(x, line, _DASHES[at], color=colour, label=_named(title, "weighted mean" if own else "mean"))


def _named(title: str, what: str) -> str:
    return f"{title}: {what}" if title else what


def _number(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else value
