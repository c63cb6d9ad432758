"""WandBWriter: W&B's ``run.log`` for training scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import time_ns
from typing import Any

from fedtrack import Writer
from fedtrack.tracking import Refused, shorten
from fedtrack.tracking.records import Metric, Record, Text

#: The deepest nesting of dicts; there is a limit because a dict may contain itself.
MAX_DEPTH = 16


class WandBWriter(Writer):
    """Logs dicts of metrics, as ``wandb.log`` does."""

    name = "wandb"
    summary = "wandb.log's dialect: dicts of numbers and text"
    supports = frozenset({Metric, Text})

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the values of one step; the numbers become one row.

        Args:
            metrics: Numbers become metrics and strings become text. A nested dict is flattened in W&B's way:
                ``{"val": {"loss": 1.0}}`` logs ``val.loss``. Any other value is counted as rejected.
            step: The script's step, or None; unlike W&B's, it may repeat and go backwards.
        """
        if self.record_plain(metrics, step):
            return
        if type(metrics) is not dict and not isinstance(metrics, Mapping):
            self._append("log", lambda: _refuse(metrics))
            return
        numbers: dict[str, Any] = {}
        texts: dict[str, str] = {}
        for key, value in _flatten(metrics):
            if isinstance(value, str):
                texts[key] = value
            else:
                numbers[key] = value
        if numbers:
            self.record_metrics(numbers, step, time_ns())
        for key, text in texts.items():
            self.record_text(key, text, step)

    def flush(self) -> None:
        """Do nothing: all records are durable already."""

    def finish(self) -> None:
        """Do nothing: the receiver ends the W&B run when the job ends."""


def _flatten(metrics: Mapping[str, Any], depth: int = 1) -> Iterator[tuple[str, Any]]:
    for key, value in metrics.items():
        if type(value) is not float and isinstance(value, Mapping) and isinstance(key, str) and depth < MAX_DEPTH:
            for inner, item in _flatten(value, depth + 1):
                # A key that is not a str stays as it is, so that the rejection names it.
                yield (f"{key}.{inner}" if isinstance(inner, str) else inner), item
        else:
            yield key, value


def _refuse(metrics: Any) -> Record:
    raise Refused(f"log() takes a dict of metrics, got {shorten(metrics)}")
