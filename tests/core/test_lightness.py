"""Nothing heavy is imported before it is used: a listing must not cost the import of torch or of an SDK."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "mlflow", "wandb", "tensorboard", "tensorflow", "pandas", "sklearn"}


def loaded_by(statements: str) -> set[str]:
    """Return the top-level modules that a new process has loaded after the statements."""
    program = f"{statements}\nimport json, sys\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statements",
    [
        "import fedtrack",
        "from fedtrack import *",
        "from fedtrack import plugins; assert plugins.registry().plugins",
        "import fedtrack.testing.doubles",
    ],
)
def test_no_framework_and_no_sdk_is_imported(statements: str) -> None:
    loaded = loaded_by(statements)
    assert "fedtrack" in loaded
    assert not loaded & HEAVY


def test_the_package_alone_imports_nothing_else() -> None:
    assert not loaded_by("import fedtrack") & {"numpy", "msgspec", "pluggy", "typer", "rich", "safetensors"}


def test_a_plugins_marker_costs_it_only_pluggy() -> None:
    assert not loaded_by("from fedtrack import hookimpl") & {"numpy", "msgspec", "typer", "rich", "safetensors"}


def test_plugins_are_listed_without_the_command_line() -> None:
    assert not loaded_by("from fedtrack import plugins; plugins.registry()") & {"typer", "rich"}


def test_a_job_is_described_without_numpy() -> None:
    """So that the fork server can be started before it: both then import it at the same time."""
    described = "from fedtrack.job import FedAvgJob; FedAvgJob(initial_model='model.py:Net')"
    assert not loaded_by(f"{described}; import fedtrack_local.processes.fork_server_process") & {"numpy", "rich"}


@pytest.mark.parametrize("names", ["Server, Task, Answer, RoundResult, play_round", "Aggregator", "WorkflowState"])
def test_a_workflow_imports_what_it_needs_without_numpy(names: str) -> None:
    assert not loaded_by(f"import fedtrack_local; from fedtrack_local import {names}") & {"numpy", "rich", "typer"}


def test_the_check_can_fail() -> None:
    assert "wave" in loaded_by("import wave")
    assert "wave" not in loaded_by("import fedtrack")
