"""How mlflow behaves while the receiver calls it: silent, no telemetry, and back soon when a server is down.

mlflow takes these settings from the environment. Writing there would leak into the processes that other threads
start meanwhile, so the defaults of mlflow's own setting objects are swapped instead; what a user has set in the
environment still wins.
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
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0,  # delivery retries, and knows for how long
    "MLFLOW_HTTP_REQUEST_TIMEOUT": 20,  # seconds; a call that hangs ends then
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": True,
    _TELEMETRY: True,
}


_lock = threading.Lock()
_importing = threading.RLock()
_inside = 0
_before: dict[str, Any] = {}


@contextmanager
def calm() -> Iterator[None]:
    """Import mlflow if need be, and apply the settings above for the duration of the block.

    Several threads may be inside at once, one per receiver: the first one applies the settings, and the last one to
    leave restores what was there.
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
    """Import a module of mlflow: without its telemetry, and without the warnings of what it imports itself."""
    with _importing:  # a module that another thread is importing is in sys.modules, and not ready
        return sys.modules.get(module) or _import(module)


def _import(module: str) -> Any:
    # At its end the interpreter looks for garbage among everything that MLflow has imported, several times: that was
    # 2 to 7 seconds on a busy machine, and 0.3 without.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    # Telemetry starts with the first import, unless the environment says otherwise at that very moment.
    switched = "mlflow" not in sys.modules and _TELEMETRY not in os.environ
    if switched:
        os.environ[_TELEMETRY] = "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # under -W error they would be failures that nobody here can mend
            return importlib.import_module(module)
    finally:
        if switched:
            del os.environ[_TELEMETRY]
