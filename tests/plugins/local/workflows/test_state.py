"""What a workflow remembers: whole, by workflow, and never half of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import ConfigError, DamagedError, WorkspaceError
from fedtrack_local import WorkflowState


@pytest.fixture
def state(tmp_path: Path) -> WorkflowState:
    found = WorkflowState(tmp_path / "states.msgpack")
    found.enter("controller")
    return found


def test_at_first_there_is_none(state: WorkflowState) -> None:
    assert state.load() is None


@pytest.mark.parametrize("value", [0, -1.5, "é", b"\0\xff", [1, [2]], {"a": {"b": None}}, True, {"1": [math.inf]}])
def test_a_value_comes_back_in_another_process(state: WorkflowState, tmp_path: Path, value: object) -> None:
    state.save(value)
    again = WorkflowState(tmp_path / "states.msgpack")
    again.enter("controller")
    assert again.load() == value


def test_not_a_number_comes_back(state: WorkflowState) -> None:
    state.save(math.nan)
    assert math.isnan(state.load())


def test_each_workflow_has_its_own(state: WorkflowState) -> None:
    state.save(1)
    state.enter("controller_1")
    assert state.load() is None
    state.save(2)
    state.enter("controller")
    assert state.load() == 1


@pytest.mark.parametrize("value", [np.zeros(2), {"model": object()}, 2**70])
def test_what_is_no_plain_value_is_refused_and_the_value_before_it_stays(state: WorkflowState, value: object) -> None:
    state.save("before")
    with pytest.raises(ConfigError, match="The state of the workflow 'controller' cannot be kept"):
        state.save(value)
    assert state.load() == "before"


def test_a_damaged_file_says_what_to_do(state: WorkflowState, tmp_path: Path) -> None:
    (tmp_path / "states.msgpack").write_bytes(b"\x81\xa1")
    with pytest.raises(DamagedError, match=r"states\.msgpack is damaged .*move it away"):
        state.load()


def test_a_file_that_cannot_be_written_keeps_the_value_before(state: WorkflowState, tmp_path: Path) -> None:
    lost = WorkflowState(tmp_path / "nowhere" / "states.msgpack")
    with pytest.raises(WorkspaceError, match="Cannot write"):
        lost.save(1)
