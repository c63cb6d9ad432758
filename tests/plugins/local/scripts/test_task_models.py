"""TaskModels: which site is given which file, and how long it is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import ModelError
from fedtrack.runs import RunRecord, Workspace
from fedtrack_local.models.handed_model import hand, is_sealed
from fedtrack_local.models.params import load_params
from fedtrack_local.processes.messages import SendTask
from fedtrack_local.scripts import task_models
from fedtrack_local.scripts.task_models import TaskModels

PARAMS = {"w": np.arange(3, dtype=np.float32)}


class Pool:
    """Remembers what was sent; every site may ask for the last task again."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, int | None]] = []

    def send(self, site: str, message: SendTask, file: int | None) -> None:
        self.sent.append((site, message.task_id, file))

    def needs(self, site: str, task_id: int) -> bool:
        return any(sent == (site, task_id) for *sent, _ in [self.sent[-1]]) or self.needs_any(task_id)

    def needs_any(self, task_id: int) -> bool:
        return task_id == self.sent[-1][1]


@pytest.fixture
def models(tmp_path: Path) -> tuple[TaskModels, Any, Workspace]:
    workspace, pool = Workspace(tmp_path), Pool()
    workspace.create(RunRecord("r", "job/j", 0), ["a", "b"])
    workspace.close()
    return TaskModels(workspace, pool, 2), pool, workspace  # type: ignore[arg-type]


def task(number: int) -> SendTask:
    return SendTask(number, "train", True, 0, number, 3, {})


def test_sites_share_one_file_that_none_can_change(models: tuple[TaskModels, Any, Workspace]) -> None:
    one, pool, workspace = models
    one.publish(PARAMS, task(1), ["a", "b"])
    file = pool.sent[0][2]
    assert pool.sent == [("a", 1, file), ("b", 1, file)]
    assert is_sealed(file)
    one.publish(PARAMS, task(2), ["a"])
    assert list(one._files) == [2]
    one.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(file)
    assert list(workspace.exchange.rglob("*.safetensors")) == []


def test_of_a_model_that_is_too_large_each_site_has_a_copy(
    models: tuple[TaskModels, Any, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, pool, workspace = models
    monkeypatch.setattr(task_models, "memory_limit", lambda: 0)
    one.publish(PARAMS, task(1), ["a", "b"])
    assert pool.sent == [("a", 1, None), ("b", 1, None)]
    first, second = (workspace.exchange / site / "task-1.safetensors" for site in "ab")
    first.write_bytes(b"changed by its site")
    np.testing.assert_array_equal(load_params(second)["w"], PARAMS["w"])
    one.publish(None, task(2), ["a", "b"])
    assert list(workspace.exchange.rglob("*.safetensors")) == []


def test_an_answer_is_measured_by_the_model_of_the_task(models: tuple[TaskModels, Any, Workspace]) -> None:
    one, _, workspace = models
    one.publish(PARAMS, task(1), ["a"])
    good = hand({"w": PARAMS["w"].astype(np.float64)}, workspace.exchange / "x", 2**20)
    large = hand({"w": np.zeros(20 * 2**20, np.uint8)}, workspace.exchange / "x", 2**30)
    assert one.take("a", good)[0]["w"].dtype == np.float64
    with pytest.raises(ModelError, match="may have"):
        one.take("a", large)
    with pytest.raises(ModelError, match="the model that a sent did not come"):
        one.take("a", None)
    os.close(good)
    os.close(large)
    one.close()
