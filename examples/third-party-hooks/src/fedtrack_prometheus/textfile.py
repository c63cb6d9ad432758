"""TextFile: a file in Prometheus' text format that is replaced as a whole at every write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

_ESCAPES = {"\\": r"\\", "\n": r"\n", '"': r"\""}


class TextFile:
    """Gauges and counters under one set of labels.

    Args:
        path: The file.
        labels: The labels of every sample.
    """

    def __init__(self, path: Path, labels: Mapping[str, str]) -> None:
        self.path = path
        self._labels = dict(labels)
        self._help: dict[str, str] = {}
        self._samples: dict[str, dict[str, float]] = {}

    def set(self, name: str, what: str, value: float, **labels: str) -> None:
        """Set a sample."""
        self._help[name] = what
        self._samples.setdefault(name, {})[self._labelled(labels)] = value

    def add(self, name: str, what: str, amount: float, **labels: str) -> None:
        """Add to a counter, whose name ends in ``_total``."""
        samples = self._samples.get(name, {})
        self.set(name, what, samples.get(self._labelled(labels), 0) + amount, **labels)

    def write(self) -> None:
        """Write every sample; a collector that reads at this moment sees the old file or the new one.

        Raises:
            OSError: The file cannot be written.
        """
        lines = []
        for name, samples in self._samples.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {self._help[name]}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {_shown(value)}" for labels, value in samples.items()]
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.replace(self.path)

    def _labelled(self, labels: Mapping[str, str]) -> str:
        pairs = [f'{name}="{_escaped(value)}"' for name, value in (self._labels | dict(labels)).items()]
        return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in value)


def _shown(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))
