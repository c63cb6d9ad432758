"""MLflow for fedtrack: the writer and the receiver.

This module is what the entry point names, so nothing here may import mlflow: the receiver does so when it opens.
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
