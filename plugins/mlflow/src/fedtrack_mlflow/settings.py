"""Settings of mlflow during the receiver's calls: no output, no telemetry, and a short wait for a server that is down.

mlflow reads these settings from the environment. If they were written there, processes that other threads start
meanwhile would inherit them. So the defaults of mlflow's own setting objects are changed instead. A user's values in
the environment still have priority.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"

_DEFAULTS: dict[str, Any] = {
    "MLFLOW_ALLOW_FILE_STORE": True,
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0,  # delivery retries itself
    "MLFLOW_HTTP_REQUEST_TIMEOUT": 20,  # seconds until a call that hangs ends
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": True,
    _TELEMETRY: True,
}


_lock = threading.Lock()
_importing = threading.RLock()
_inside = 0
_before: dict[str, Any] = {}


@contextmanager
def calm() -> Iterator[None]:
    """Import mlflow if necessary, and apply the settings above in the block.

    Several threads may be in the block at the same time, one per receiver: the first one applies the settings, and the
    last one restores the old values.
    """
    variables = import_quietly("mlflow.environment_variables")
    _enter(variables)
    try:
        yield
    finally:
        _leave(variables)


def _enter(variables: Any) -> None:
    global _inside
    with _lock:
        _inside += 1
        if _inside > 1:
            return
        for name, value in _DEFAULTS.items():
            if (variable := getattr(variables, name, None)) is not None:
                _before[name] = variable.default
                variable.default = value


def _leave(variables: Any) -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside:
            return
        for name, value in _before.items():
            getattr(variables, name).default = value
        _before.clear()


def import_quietly(module: str) -> Any:
    """Import a module of mlflow, without telemetry and without the warnings of other modules that it imports."""
    with _importing:  # a module that another thread is importing is in sys.modules but not ready
        return sys.modules.get(module) or _import(module)


def _import(module: str) -> Any:
    # At its end the interpreter collects garbage several times, among all objects that MLflow has imported: that took
    # 2 to 7 seconds on a busy machine. Frozen objects are skipped, which takes 0.3 seconds.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    # Telemetry starts with the first import, unless the environment disables it at that moment.
    switched = "mlflow" not in sys.modules and _TELEMETRY not in os.environ
    if switched:
        os.environ[_TELEMETRY] = "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # under -W error they would be failures that nobody here can fix
            return importlib.import_module(module)
    finally:
        if switched:
            del os.environ[_TELEMETRY]
