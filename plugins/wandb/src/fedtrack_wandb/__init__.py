"""Weights & Biases for fedtrack: the ``wandb`` receiver and ``WandBWriter``.

Every listing of plugins imports this module, so it stays light: a receiver imports W&B's SDK when it starts its first
run.
"""

from __future__ import annotations

from collections.abc import Iterable

from fedtrack import Receiver, Writer, hookimpl
from fedtrack_wandb.receiver import WandBReceiver
from fedtrack_wandb.writer import WandBWriter

__all__ = ["WandBReceiver", "WandBWriter"]


@hookimpl
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    """Provide the receiver."""
    return (WandBReceiver,)


@hookimpl
def fedtrack_writers() -> Iterable[type[Writer]]:
    """Provide the writer."""
    return (WandBWriter,)
