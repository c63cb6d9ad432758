"""ModelSelector: remembers the best global model (FLARE's ``IntimeModelSelector``)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Literal, TypedDict

from fedtrack.errors import ConfigError

log = logging.getLogger(__name__)


class SelectorState(TypedDict):
    """The selector's state, which a resumed job needs; plain JSON."""

    best_round: int | None
    best_value: float | None


class ModelSelector:
    """Tells in each round whether the model that entered the round is the best so far.

    A site evaluates the model that it receives before it trains it. So the metrics in the results of round r score the
    global model that *entered* round r, not the one that round r makes. If ``observe`` returns True, the model that
    entered the round is the best one so far. As in FLARE, round 0 selects nothing, because no aggregated model has
    entered it, and the last round's model is never scored.

    Args:
        key_metric: Name of the metric that is compared.
        mode: ``"max"`` if larger values are better, ``"min"`` if smaller ones are.

    Raises:
        ConfigError: The mode is not valid.
    """

    def __init__(self, key_metric: str = "accuracy", mode: Literal["max", "min"] = "max") -> None:
        if mode not in ("max", "min"):
            raise ConfigError(f"The model selector's mode is {mode!r}; use 'max' or 'min'.")
        self.key_metric = key_metric
        self.mode = mode
        #: The round that the best model entered, counted from 0; None until there is one.
        self.best_round: int | None = None
        #: Its ``key_metric``.
        self.best_value: float | None = None
        self._warned = False

    def observe(self, current_round: int, metrics: Mapping[str, float]) -> bool:
        """Return whether the model that entered ``current_round`` is better than every earlier one.

        Better means strictly better: of equal models the earliest stays. NaN and infinities are never best.

        Args:
            current_round: Counted from 0.
            metrics: The sites' metrics, averaged. FLARE's selector gives each site the same weight.
        """
        value = metrics.get(self.key_metric)
        if value is None:
            self._warn(metrics)
            return False
        if current_round == 0 or not math.isfinite(value) or not self._better(value):
            return False
        self.best_round, self.best_value = current_round, float(value)
        return True

    def state(self) -> SelectorState:
        """Return the state for ``restore``."""
        return {"best_round": self.best_round, "best_value": self.best_value}

    def restore(self, state: SelectorState) -> None:
        """Continue from an earlier selector's ``state``."""
        self.best_round, self.best_value = state["best_round"], state["best_value"]

    def _better(self, value: float) -> bool:
        if self.best_value is None:
            return True
        return value > self.best_value if self.mode == "max" else value < self.best_value

    def _warn(self, metrics: Mapping[str, float]) -> None:
        if self._warned:
            return
        self._warned = True
        log.warning(
            "No best model can be selected by %r: the sites report %s. "
            "Name a metric that they report as key_metric, or send this one in FLModel(metrics=...).",
            self.key_metric,
            ", ".join(map(repr, sorted(metrics))) or "no metrics",
        )
