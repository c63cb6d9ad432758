"""Federated jobs without torch, small enough to be run by every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import numpy as np
import pytest

from fedtrack.job import ClientAppRunner, FedAvgJob, ScriptRunner
from support.file_systems import other_file_system
from support.throwaway import install, site

from .virtual_jobs import APP

__all__ = ["install", "other_file_system", "site"]

CLIENT = """
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
step = 0
while flare.is_running():
    model = flare.receive()
    if flare.is_evaluate():
        flare.send(flare.FLModel(metrics={"accuracy": 1.0}))
        continue
    for _ in range(50):
        writer.record_metric("loss", 1 / (step + 1), step)
        step += 1
    TRAIN
    flare.send(flare.FLModel(
        params={name: value + 1 for name, value in model.params.items()},
        metrics={"accuracy": model.current_round / 10},
        meta={"NUM_STEPS_CURRENT_ROUND": 50},
    ))
"""


MakeJob = Callable[..., FedAvgJob]


@pytest.fixture
def make_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """Return a builder of jobs whose sites run ``train`` (Python, at the place of TRAIN) in every round."""
    monkeypatch.chdir(tmp_path)

    def make(train: str = "pass", *, script: str = CLIENT, external: bool = False, **kwargs: object) -> FedAvgJob:
        lines = dedent(train).strip().splitlines()
        (tmp_path / "client.py").write_text(script.replace("TRAIN", "\n    ".join(lines)))
        settings: dict[str, object] = {"n_clients": 2, "num_rounds": 2, "analytics_receiver": False}
        job = FedAvgJob(initial_model={"w": np.zeros((2, 3), np.float32)}, name="test-job", **settings | kwargs)
        job.to_clients(ScriptRunner("client.py", framework="numpy", launch_external_process=external))
        return job

    return make


@pytest.fixture
def make_virtual_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """Return a builder of jobs whose sites run ``train`` (Python, at the place of TRAIN) in every round."""
    monkeypatch.chdir(tmp_path)

    def make(train: str = "pass", *, runner: Any = None, app: str = APP, **kwargs: Any) -> FedAvgJob:
        Path("client.py").write_text(app.replace("    TRAIN", indent(dedent(train).strip(), "    ")))
        initial = {"w": np.zeros((2, 3), np.float32), "n": np.zeros((), np.int64)}
        settings = {"n_clients": 7, "num_rounds": 2, "analytics_receiver": False, "key_metric": ""} | kwargs
        job = FedAvgJob(initial_model=initial, name="test-job", **settings)
        args = {"rate": 0.5}
        job.to_clients(runner or ClientAppRunner("client.py", framework="numpy", workers=2, args=args))
        return job

    return make
