"""Round: the steps at its end, in the order in which a crash costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError
from fedtrack_local.workflows.round import end_round, play_round
from fedtrack_local.workflows.workflow import RoundResult, Task
from support.memory_server import MemoryServer

MODEL = {"w": np.zeros(2, np.float32)}


def train(site: str, task: Task) -> FLModel:
    return FLModel(params={"w": np.ones(2, np.float32)}, metrics={"loss": 0.5})


def test_a_round_whose_model_is_saved_can_be_ended_from_its_file(tmp_path: Path) -> None:
    class Killed(MemoryServer):
        def log_metrics(self, metrics: Any, step: int | None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_round(Killed(tmp_path, train), Task("train", MODEL, 3), ["site-1", "site-2"])
    resumed = MemoryServer(tmp_path, train)
    stored = resumed.models.load()
    assert stored is not None
    result = msgspec.msgpack.decode(stored.result, type=RoundResult)
    end_round(resumed, result)
    assert (result.current_round, result.sites, result.metrics) == (3, ("site-1", "site-2"), {"loss": 0.5})
    assert resumed.rounds == [result]
    assert [(metrics["loss"], step) for metrics, step in resumed.logged] == [(0.5, 3)]
    assert [hook for hook, _ in resumed.notified] == ["fedtrack_round_ended"]


def test_metrics_are_logged_before_the_round_counts_as_ended(tmp_path: Path) -> None:
    class Ordered(MemoryServer):
        def finish_round(self, result: RoundResult) -> None:
            assert self.logged
            super().finish_round(result)

    server = Ordered(tmp_path, train)
    play_round(server, Task("train", MODEL, 0), ["site-1"])
    assert len(server.rounds) == 1


def test_a_task_without_a_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'train' has no current_round"):
        play_round(MemoryServer(tmp_path, train), Task("train", MODEL), ["site-1"])
