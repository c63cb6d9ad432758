"""RoundRemarks: what is odd in the results of a round and is nevertheless averaged, one line for each kind."""

from __future__ import annotations

import logging
import math

from fedtrack.client import FLModel, MetaKey

log = logging.getLogger(__name__)

_MOST_SITES = 3


class RoundRemarks:
    """Notes each result of a round, and logs at its end, so that a round of thousands of sites has a few lines."""

    def __init__(self) -> None:
        self._not_a_number: dict[str, list[str]] = {}
        self._weighted: list[str] = []
        self._unweighted: list[str] = []
        self._round: int | None = None

    def note(self, site: str, model: FLModel) -> None:
        """Note a result that is in the average."""
        self._round = model.current_round
        (self._weighted if MetaKey.NUM_STEPS_CURRENT_ROUND in model.meta else self._unweighted).append(site)
        for name, value in (model.metrics or {}).items():
            if isinstance(value, float) and math.isnan(value):
                self._not_a_number.setdefault(name, []).append(site)

    def log(self) -> None:
        """Log what was noted."""
        where = "" if self._round is None else f"round {self._round}: "
        for name, sites in self._not_a_number.items():
            log.warning("%sthe metric %r of %s is NaN, it is left out of the average", where, name, _listed(sites))
        if self._weighted and self._unweighted:
            log.warning(
                "%s%s sent no %s and counts as one step, beside %s with a number; send it in FLModel.meta",
                where,
                _listed(self._unweighted),
                MetaKey.NUM_STEPS_CURRENT_ROUND,
                _listed(self._weighted),
            )


def _listed(sites: list[str]) -> str:
    more = f" and {len(sites) - _MOST_SITES} more sites" if len(sites) > _MOST_SITES else ""
    return ", ".join(sites[:_MOST_SITES]) + more
