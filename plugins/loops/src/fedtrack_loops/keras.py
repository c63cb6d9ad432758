"""Keras: a callback whose metrics go to fedtrack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from keras.callbacks import Callback

from fedtrack.tracking import MediaWriter


class FedtrackCallback(Callback):  # type: ignore[misc]
    """Logs what ``fit`` and ``evaluate`` measure: ``model.fit(..., callbacks=[FedtrackCallback()])``.

    The metrics of an epoch have Keras' names (``loss``, ``val_loss``) and the epoch as their step, those of a batch
    begin with ``batch/``, and those of ``evaluate`` with ``test/``. The optimizer's settings are hyperparameters.

    Args:
        update_freq: ``"epoch"``, ``"batch"``, or a number of batches, as for Keras' TensorBoard callback.
        steps: ``"continue"`` makes one ascending count of epochs that begin again in each round.
    """

    def __init__(
        self, update_freq: Literal["epoch", "batch"] | int = "epoch", *, steps: Literal["continue"] | None = None
    ) -> None:
        super().__init__()
        self._every = update_freq if isinstance(update_freq, int) else {"epoch": 0, "batch": 1}[update_freq]
        self._batches = 0
        self._epochs = 0
        self._writer = MediaWriter()
        if steps == "continue":
            self._writer.continue_steps()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log the optimizer's settings, and how long the fit is."""
        optimizer = getattr(self.model, "optimizer", None)
        settings = optimizer.get_config() if optimizer is not None else {}
        self._writer.record_params({"optimizer": settings, "fit": self.params or {}})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the metrics of an epoch, of the training and of the validation data."""
        self._epochs = epoch + 1
        self._writer.record_metrics(logs or {}, epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the metrics of a batch, with the number of batches since the beginning as their step."""
        if self._every and self._batches % self._every == 0:
            self._writer.record_metrics({f"batch/{key}": value for key, value in (logs or {}).items()}, self._batches)
        self._batches += 1

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log what ``evaluate`` has measured, unless a fit called it: there it is ``val_...`` of the epoch."""
        if not getattr(self.model, "_eval_epoch_iterator", None) and logs:
            self._writer.record_metrics({f"test/{key}": value for key, value in logs.items()}, self._epochs)
