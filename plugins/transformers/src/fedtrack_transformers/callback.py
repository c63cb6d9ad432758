"""FedtrackCallback: a callback of transformers' Trainer, whose logs go to fedtrack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from transformers import TrainerCallback
from transformers.integrations import integration_utils

from fedtrack.tracking import MediaWriter


class FedtrackCallback(TrainerCallback):  # type: ignore[misc]
    """Logs what the Trainer logs, and its arguments: ``Trainer(callbacks=[FedtrackCallback()])``.

    Names are those that the Trainer's W&B and TensorBoard callbacks use: ``train/loss``, ``eval/accuracy``. Only the
    process of rank 0 logs.

    Args:
        steps: ``"continue"`` makes one ascending count of steps that begin again in each round, as those of a new
            Trainer do.
    """

    def __init__(self, *, steps: Literal["continue"] | None = None) -> None:
        self._steps = steps
        self._writer: MediaWriter | None = None
        self._has_params = False

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Log the arguments and the model's config as hyperparameters, once."""
        if not state.is_world_process_zero or self._has_params:
            return
        self._has_params = True
        config: Any = getattr(model, "config", None)
        found = config.to_dict() if hasattr(config, "to_dict") else {}
        self._open().record_params(found | args.to_sanitized_dict())  # without the secrets among them

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Log the Trainer's metrics, with its step."""
        if state.is_world_process_zero and logs:
            self._open().record_metrics(integration_utils.rewrite_logs(logs), state.global_step)

    def _open(self) -> MediaWriter:
        """Return the writer, made late: by rank 0 only, and after the job or the run was joined."""
        if self._writer is None:
            self._writer = MediaWriter()
            if self._steps == "continue":
                self._writer.continue_steps()
        return self._writer


#: The documented way is ``callbacks=``; the table is what ``report_to`` is looked up in.
getattr(integration_utils, "INTEGRATION_TO_CALLBACK", {})["fedtrack"] = FedtrackCallback
