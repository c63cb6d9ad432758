"""Library: Lightning's classes, from the distribution of it that the script uses.

``lightning`` and ``pytorch_lightning`` are copies of each other with classes of their own, and a Trainer of one takes
no callback of the other.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_NAMES = ("lightning.pytorch", "pytorch_lightning")


def _chosen() -> str:
    """Return the module that the script has imported, or else the first that is installed."""
    for name in _NAMES:
        if name in sys.modules:
            return name
    for name in _NAMES:
        if find_spec(name.partition(".")[0]) is not None:
            return name
    raise ImportError(
        "fedtrack_lightning needs PyTorch Lightning, which is not installed; install it with: pip install lightning"
    )


NAME = _chosen()
Callback: Any = import_module(f"{NAME}.callbacks").Callback
Logger: Any = import_module(f"{NAME}.loggers").Logger
TrainerFn: Any = import_module(f"{NAME}.trainer.states").TrainerFn
rank_zero_only: Any = import_module(f"{NAME}.utilities").rank_zero_only
