"""The metrics that a round gives to its run, the same on every engine."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from fedtrack.runs import RoundSummary
from fedtrack_local.workflows.workflow import RoundResult


def summary_of(result: RoundResult) -> RoundSummary:
    """Return a round as the summary of the run shows it."""
    return RoundSummary(
        result.current_round, finite(result.metrics), list(result.sites), result.seconds, result.size, result.steps
    )


def round_metrics(result: RoundSummary) -> dict[str, float]:
    """Return the server's own metrics of a finished round: how long it took, what crossed, and what it averaged.

    ``round/seconds``; ``round/bytes`` of parameters, both ways; ``round/sites`` and the optimizer steps behind their
    results, ``round/steps``. A result that says no number of steps counts as one.
    """
    found = {
        "round/seconds": result.seconds,
        "round/bytes": float(result.bytes),
        "round/sites": float(len(result.sites)),
    }
    return found if result.steps is None else found | {"round/steps": result.steps}


def finite(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return ``metrics`` as JSON can hold them: None where a value is not finite."""
    return {name: value if value is not None and isfinite(value) else None for name, value in metrics.items()}
