"""Whole jobs, small enough for every test run, without this machine's settings of W&B and MLflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.job import FedAvgJob, ScriptRunner
from support.demo import Demo, run_example
from support.tensorboard_server import tensorboard

__all__ = ["tensorboard"]

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="module", autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep wandb out of HOME, and MLflow's template where the tests of its plugin keep it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        # Fixtures of a module run jobs too, before the fixture of each test hides torch; see tests/conftest.py.
        patch.delitem(sys.modules, "torch", raising=False)
        for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
            patch.delenv(name)
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        for kind in ("CONFIG", "CACHE", "DATA", "ARTIFACT"):
            patch.setenv(f"WANDB_{kind}_DIR", str(home / kind.lower()))
        yield


def make_job(script: str, args: str = "", **kwargs: Any) -> FedAvgJob:
    """Return a job of two sites and two rounds that runs a file of ``scripts``.

    It has no view of its sites, whose records would be among those that most tests count.
    """
    kwargs.setdefault("view", False)
    model = {"w": np.zeros(3, np.float32)}
    job = FedAvgJob(model, n_clients=2, num_rounds=2, name="e2e", **kwargs)
    job.to_clients(ScriptRunner(str(SCRIPTS / script), args, framework="numpy"))
    return job


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """hello-pt-mlflow as `make demo` runs it."""
    return run_example("hello-pt-mlflow", tmp_path_factory.mktemp("demo") / "ws")
