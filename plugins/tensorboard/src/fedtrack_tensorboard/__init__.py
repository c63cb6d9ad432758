"""TensorBoard for fedtrack: a writer with TensorBoard's calls, and a receiver that writes event files.

Every listing of plugins imports this module, so it imports neither tensorboard nor numpy nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable

from fedtrack import Receiver, Writer, hookimpl
from fedtrack_tensorboard.receiver import TBAnalyticsReceiver
from fedtrack_tensorboard.writer import SummaryWriter

__all__ = ["SummaryWriter", "TBAnalyticsReceiver"]


@hookimpl
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    """Provide the receiver."""
    return (TBAnalyticsReceiver,)


@hookimpl
def fedtrack_writers() -> Iterable[type[Writer]]:
    """Provide the writer."""
    return (SummaryWriter,)
