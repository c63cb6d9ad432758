"""XGBoost: a callback whose metrics go to fedtrack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from xgboost import collective
from xgboost.callback import TrainingCallback

from fedtrack.tracking import MediaWriter


class FedtrackCallback(TrainingCallback):  # type: ignore[misc]
    """Logs each evaluation of ``xgboost.train``, ``xgboost.cv`` or an estimator: ``callbacks=[FedtrackCallback()]``.

    A metric is named ``<data>-<metric>``, as XGBoost prints it, and its step is the iteration. Those of ``cv`` have
    ``-mean`` and ``-std``. The booster's settings are hyperparameters. In distributed training only rank 0 logs.

    Args:
        steps: ``"continue"`` makes one ascending count of iterations that begin again in each round.
    """

    def __init__(self, *, steps: Literal["continue"] | None = None) -> None:
        super().__init__()
        self._writer = MediaWriter() if collective.get_rank() == 0 else None
        if steps == "continue" and self._writer is not None:
            self._writer.continue_steps()

    def before_training(self, model: Any) -> Any:
        """Log the booster's settings."""
        if self._writer is not None and hasattr(model, "save_config"):  # cv has no booster of its own
            self._writer.record_params(_settings(json.loads(model.save_config())))
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[Any]]]) -> bool:
        """Log the last value of each metric; the training goes on."""
        if self._writer is not None:
            found: dict[str, float] = {}
            for data, metrics in evals_log.items():
                for name, values in metrics.items():
                    found |= _named(f"{data}-{name}", values[-1])
            self._writer.record_metrics(found, epoch)
        return False

    def after_training(self, model: Any) -> Any:
        """Log the best iteration and its score, if the training was to stop early."""
        if self._writer is not None and getattr(model, "attributes", None) and "best_score" in model.attributes():
            best = {"best_iteration": float(model.best_iteration), "best_score": float(model.best_score)}
            self._writer.record_metrics(best)
        return model


def _named(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, tuple):  # of cv: mean and standard deviation over the folds
        return {f"{name}-mean": float(value[0]), f"{name}-std": float(value[1])}
    return {name: float(value)}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that users know, out of all of a booster's state."""
    learner = config.get("learner", {})
    booster = learner.get("gradient_booster", {})
    found = booster.get("tree_train_param") or booster.get("linear_train_param") or {}
    return {**found, "booster": booster.get("name", ""), "objective": learner.get("objective", {}).get("name", "")}
