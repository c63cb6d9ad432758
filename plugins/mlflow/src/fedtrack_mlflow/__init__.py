"""MLflow for fedtrack: the writer and the receiver.

Every listing of plugins imports this module, so it must not import mlflow: the receiver does so in ``open``.
"""

from __future__ import annotations

from fedtrack.plugins.markers import hookimpl
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.writer import Writer
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
