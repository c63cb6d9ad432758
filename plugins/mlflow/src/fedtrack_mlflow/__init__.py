"""MLflow for fedtrack: the writer and the receiver.

Every listing of plugins imports this module, so it must not import mlflow: the receiver does so in ``open``.
"""

from __future__ import annotations

from fedtrack import Receiver, Writer, hookimpl
from fedtrack_mlflow.receiver import MLflowReceiver
from fedtrack_mlflow.writer import MLflowWriter

__all__ = ["MLflowReceiver", "MLflowWriter"]


@hookimpl
def fedtrack_receivers() -> list[type[Receiver]]:
    """Provide the MLflow receiver."""
    return [MLflowReceiver]


@hookimpl
def fedtrack_writers() -> list[type[Writer]]:
    """Provide the MLflow writer."""
    return [MLflowWriter]
