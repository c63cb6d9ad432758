"""Commands of MLflow, in a form that works in the environment that prints them."""

from __future__ import annotations

import shlex
from importlib.metadata import PackageNotFoundError, version

from fedtrack.plugins import remedy


def user_interface(uri: str) -> str:
    """Return the command that shows a store in a browser; mlflow-skinny alone has no user interface."""
    command = f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
    if _installed("mlflow"):
        return command
    skinny = _installed("mlflow-skinny")
    needed = f"mlflow=={skinny}" if skinny else "mlflow"
    return f"{remedy.install(needed)} && {command}"


def restore_experiment(uri: str, experiment_id: str) -> str:
    """Return the command that restores a deleted experiment."""
    return f"MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow experiments restore --experiment-id {experiment_id}"


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
