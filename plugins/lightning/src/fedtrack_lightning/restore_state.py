"""RestoreState: optimizers and schedulers keep their state from one round to the next."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fedtrack_lightning.library import Callback


class RestoreState(Callback):  # type: ignore[misc]
    """Hands the state on: Lightning makes new optimizers and schedulers for each ``fit`` (FLARE's RestoreState)."""

    def __init__(self) -> None:
        self._optimizers: list[dict[str, Any]] = []
        self._schedulers: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Give the optimizers of this round the state of those of the last one."""
        for optimizer, state in zip(trainer.optimizers, self._optimizers, strict=False):
            optimizer.load_state_dict(state)
        for config, state in zip(trainer.lr_scheduler_configs, self._schedulers, strict=False):
            config.scheduler.load_state_dict(state)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the state."""
        self._optimizers = [deepcopy(optimizer.state_dict()) for optimizer in trainer.optimizers]
        self._schedulers = [deepcopy(config.scheduler.state_dict()) for config in trainer.lr_scheduler_configs]
