"""Example: a runnable example that a plugin provides through the ``fedtrack_examples`` hook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Example:
    """A folder with a ``job.py`` that can be run unchanged.

    Attributes:
        name: The name that users type, such as ``hello-pt-mlflow``.
        summary: One line for listings.
        folder: The folder of ``job.py`` and its client scripts.
    """

    name: str
    summary: str
    folder: Path
