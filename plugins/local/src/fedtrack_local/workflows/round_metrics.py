"""Round metrics: the server's own metrics of a round, the same on every engine."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from fedtrack.runs import RoundSummary
from fedtrack_local.workflows.workflow import RoundResult


def summary_of(result: RoundResult) -> RoundSummary:
    """Return a round in the form of the run's summary."""
    return RoundSummary(
        result.current_round, finite(result.metrics), list(result.sites), result.seconds, result.size, result.steps
    )


def round_metrics(result: RoundSummary) -> dict[str, float]:
    """Return the server's own metrics of a finished round: its duration, its traffic, and its average.

    ``round/seconds``; ``round/bytes`` of parameters, both ways; ``round/sites``, the number of averaged results, and
    ``round/steps``, the optimizer steps behind them. A result without a number of steps counts as one step.
    """
    found = {
        "round/seconds": result.seconds,
        "round/bytes": float(result.bytes),
        "round/sites": float(len(result.sites)),
    }
    return found if result.steps is None else found | {"round/steps": result.steps}


def finite(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return ``metrics`` in a form for JSON: None for each value that is not finite."""
    return {name: value if value is not None and isfinite(value) else None for name, value in metrics.items()}
