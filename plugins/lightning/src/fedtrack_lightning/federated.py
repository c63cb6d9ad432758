"""Federated: lets a Lightning Trainer take part in a job, with the names of FLARE's ``nvflare.client.lightning``."""

from __future__ import annotations

from typing import Any

import fedtrack.client as flare
from fedtrack.client import FLModel, MetaKey
from fedtrack.errors import ConfigError
from fedtrack_lightning.library import NAME, Callback, TrainerFn
from fedtrack_lightning.restore_state import RestoreState

#: The attribute of a LightningModule whose entries are sent as the result's meta, as in FLARE.
FL_META_KEY = "__fl_meta__"


def patch(
    trainer: Any, restore_state: bool = True, load_state_dict_strict: bool = True, update_fit_loop: bool = True
) -> None:
    """Let ``trainer`` receive the global model before it trains or validates, and send what it has trained.

    Args:
        trainer: A Trainer of Lightning.
        restore_state: Whether optimizers and schedulers keep their state from round to round.
        load_state_dict_strict: ``strict`` of ``load_state_dict``: whether the global model must have every parameter of
            the module, and no other.
        update_fit_loop: Whether ``max_epochs`` and ``max_steps`` of the Trainer are those of one round. Otherwise they
            are those of the whole job.

    Raises:
        ConfigError: The process was not started by a job, or the Trainer is of another Lightning than the one that was
            imported before this module (``lightning`` or ``pytorch_lightning``).
    """
    if not type(trainer).__module__.startswith(f"{NAME}."):
        raise ConfigError(
            f"patch() got a {type(trainer).__module__}.{type(trainer).__name__}, and fedtrack_lightning uses {NAME}; "
            "import fedtrack_lightning after the Lightning of your script."
        )
    if not any(isinstance(callback, FLCallback) for callback in trainer.callbacks):
        trainer.callbacks.append(FLCallback(trainer.global_rank, load_state_dict_strict, update_fit_loop))
    if restore_state and not any(isinstance(callback, RestoreState) for callback in trainer.callbacks):
        trainer.callbacks.append(RestoreState())


class FLCallback(Callback):  # type: ignore[misc]
    """Receives, loads, sends: what ``patch`` adds to a Trainer.

    The first ``trainer.validate`` of a round scores the global model, and its metrics are sent with the result.

    Args:
        rank: The Trainer's global rank. The others get the same tasks, and what they send is ignored.
        load_state_dict_strict: See ``patch``.
        update_fit_loop: See ``patch``.
    """

    def __init__(self, rank: int = 0, load_state_dict_strict: bool = True, update_fit_loop: bool = True) -> None:
        flare.init(rank=rank)
        self._strict = load_state_dict_strict
        self._update_fit_loop = update_fit_loop
        self._limits: tuple[int | None, int] | None = None
        self._metrics: dict[str, float] | None = None
        self._received = False
        self._answered = False
        self._steps_before: int | None = None

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Load the global model, if this is the script's own validation of it and not one inside a fit."""
        if self._validates_the_global_model(trainer):
            self._receive(pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the global model's metrics for the result; they are the whole answer to a task that only evaluates."""
        if not self._validates_the_global_model(trainer):
            return
        self._metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        if flare.is_evaluate():
            self._send(FLModel(metrics=self._metrics))
            self._answered = True

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Load the global model; end the fit at once if the task is answered, or asks for something else."""
        answered, self._answered = self._answered, False
        model = None if answered and not flare.get_task_name() else self._receive(pl_module)
        if model is not None and flare.is_submit_model():
            self._send(FLModel(params=pl_module.state_dict()))
        trains = model is not None and flare.is_train()
        self._steps_before = trainer.global_step if trains else None
        trainer.should_stop = not trains
        if self._limits is None:
            self._limits = trainer.max_epochs, trainer.max_steps

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Send the module's parameters, with the number of optimizer steps as their weight."""
        if self._steps_before is None:
            return
        meta = dict(getattr(pl_module, FL_META_KEY, {}))
        meta.setdefault(MetaKey.NUM_STEPS_CURRENT_ROUND, trainer.global_step - self._steps_before)
        self._send(FLModel(params=pl_module.state_dict(), metrics=self._metrics, meta=meta))
        self._steps_before = None
        trainer.num_sanity_val_steps = 0  # the first round's were enough
        if self._update_fit_loop:
            self._extend(trainer)

    def _validates_the_global_model(self, trainer: Any) -> bool:
        if trainer.state.fn != TrainerFn.VALIDATING or self._metrics is not None:
            return False
        return not self._received or bool(flare.get_task_name())  # after the answer it is the script's own model

    def _receive(self, pl_module: Any) -> FLModel | None:
        model = flare.receive()
        self._received = True
        if model is not None and model.params and not flare.is_submit_model():
            pl_module.load_state_dict(model.params, strict=self._strict)
        return model

    def _send(self, model: FLModel) -> None:
        flare.send(model)
        self._metrics = None

    def _extend(self, trainer: Any) -> None:
        """Let the next fit train for as many epochs and steps as this one; the Trainer counts on."""
        epochs, steps = self._limits or (None, -1)
        if epochs is not None and epochs > 0:
            trainer.fit_loop.max_epochs = trainer.current_epoch + epochs
        if steps > 0:
            trainer.fit_loop.epoch_loop.max_steps = trainer.global_step + steps
