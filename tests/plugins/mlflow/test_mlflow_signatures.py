"""MLflowWriter has every logging function of MLflow's fluent API, with its arguments, in their order."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import mlflow
import pytest

from fedtrack.testing import MemoryLog
from fedtrack_mlflow import MLflowWriter
from support.signatures import missing_arguments

#: Functions that do not log and that scripts call around their logging.
AROUND = (
    "active_run",
    "autolog",
    "disable_system_metrics_logging",
    "enable_system_metrics_logging",
    "end_run",
    "flush_artifact_async_logging",
    "flush_async_logging",
    "get_artifact_uri",
    "get_registry_uri",
    "get_tracking_uri",
    "last_active_run",
    "register_model",
    "start_run",
)

FUNCTIONS = sorted(
    [*(name for name in dir(mlflow) if name.startswith(("log_", "set_")) and callable(getattr(mlflow, name))), *AROUND]
)


def test_the_list_of_mlflow_is_read() -> None:
    assert {"log_metric", "log_table", "set_tag", "set_experiment"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_takes_mlflows_arguments(memory_log: MemoryLog, name: str) -> None:
    assert missing_arguments(getattr(MLflowWriter(), name), getattr(mlflow, name)) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_raises_for_nonsense(
    memory_log: MemoryLog, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function = getattr(MLflowWriter(), name)
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is inspect.Parameter.empty]
    for nonsense in (None, object(), "x", 3, [1], b"\0"):
        keywords: dict[str, Any] = {item.name: nonsense for item in needed if item.kind is item.KEYWORD_ONLY}
        function(*(nonsense for item in needed if item.kind is not item.KEYWORD_ONLY), **keywords)
