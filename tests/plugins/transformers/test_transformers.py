"""fedtrack-transformers with transformers' Trainer and with Accelerate."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="transformers has an environment of its own: make loops-env")

import numpy as np

from fedtrack.testing import MemoryLog
from fedtrack.tracking import writer
from fedtrack.tracking.records import Artifact, Image, Tag, Text
from fedtrack_transformers import FedtrackCallback, FedtrackTracker
from support.training_loops import Logged, logged, metrics, params, rejected, run_example

__all__ = ["logged"]

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # the libraries' own


@pytest.fixture
def log(tmp_path: Path) -> Any:
    found = MemoryLog(tmp_path)
    before = writer.bind(found)
    yield found
    writer.bind(before)


def test_the_trainer_is_tracked(logged: Logged) -> None:
    run_example("transformers_digits.py")
    found = logged()
    assert [step for step, _ in metrics(found, "train/loss")] == list(range(1, 29))
    assert [step for step, _ in metrics(found, "eval/loss")] == [14, 28]
    assert params(found)["learning_rate"] == 0.05
    assert rejected(found) == []


def test_the_accelerator_is_tracked(logged: Logged) -> None:
    run_example("accelerate_digits.py")
    found = logged()
    assert [step for step, _ in metrics(found, "train_loss")] == list(range(36))
    assert params(found) == {"lr": 0.05, "batch/size": 100}
    assert [(tag.key, tag.value) for tag in found if isinstance(tag, Tag)] == [("project", "digits")]
    assert rejected(found) == []


def test_the_callback_logs_on_rank_0_only_and_continues_steps(log: MemoryLog) -> None:
    callback = FedtrackCallback(steps="continue")
    for rank_0, value in ((True, 1.0), (False, 2.0)):
        for step in (0, 1):
            state = SimpleNamespace(is_world_process_zero=rank_0, global_step=step)
            callback.on_log(None, state, None, logs={"loss": value})
    callback.on_log(None, SimpleNamespace(is_world_process_zero=True, global_step=0), None, logs={"loss": 3.0})
    found: Any = log.records
    assert metrics(found, "train/loss") == [(0, 1.0), (1, 1.0), (2, 3.0)]


def test_the_tracker_takes_what_accelerates_own_take(log: MemoryLog) -> None:
    from accelerate.state import PartialState

    PartialState(cpu=True)
    tracker = FedtrackTracker()
    tracker.log({"loss": 0.5, "note": "good", "acc": {"train": 1.0, "test": 0.5}}, step=2)
    tracker.log_images({"one": np.zeros((4, 4, 3), np.uint8), "two": [np.zeros((4, 4)), np.ones((4, 4))]}, step=2)
    tracker.log_table("rows", columns=["a", "b"], data=[[1, 2], [3, 4]], step=2)
    tracker.finish()
    found: Any = log.records
    assert rejected(found) == []
    assert metrics(found, "loss") == [(2, 0.5)]
    assert metrics(found, "acc/test") == [(2, 0.5)]
    assert [record.key for record in found if isinstance(record, Image)] == ["one", "two/0", "two/1"]
    assert [record.key for record in found if isinstance(record, Text)] == ["note", "rows"]
    assert [record.path for record in found if isinstance(record, Artifact)] == ["rows.table.json"]


def test_a_missing_name_is_an_attribute_error() -> None:
    import fedtrack_transformers

    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = fedtrack_transformers.nothing_of_this_name
