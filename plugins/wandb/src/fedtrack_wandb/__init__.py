"""Weights & Biases for fedtrack: the ``wandb`` receiver and ``WandBWriter``.

The entry point names this module, so it stays light: W&B's SDK is imported when a receiver starts its first run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedtrack import hookimpl

if TYPE_CHECKING:
    from fedtrack import Receiver, Writer


@hookimpl
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    """Provide ``WandBReceiver``."""
    from fedtrack_wandb.receiver import WandBReceiver

    return (WandBReceiver,)


@hookimpl
def fedtrack_writers() -> Iterable[type[Writer]]:
    """Provide ``WandBWriter``."""
    from fedtrack_wandb.writer import WandBWriter

    return (WandBWriter,)
