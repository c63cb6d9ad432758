"""StepFolds: a bounded number of steps waits, and a bounded number of them is written."""

from __future__ import annotations

import pytest

from fedtrack.journal.batches import StoredBatch
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, encode
from fedtrack.view import step_folds
from fedtrack.view.step_folds import StepFolds
from fedtrack.view.view_state import ViewState


def batch(site: str, steps: range) -> StoredBatch:
    payloads = [encode(Metric(10**18, "loss", float(step), step)) for step in steps]
    body = b"".join(frames.frame(seq, payload, 0) for seq, payload in enumerate(payloads, start=1))
    return StoredBatch(1, site, "0" * 32, len(payloads), body)


def written(folds: StepFolds, *, completed: bool = False) -> list[int]:
    return [records[0].step for records in folds.due(0.0, completed=completed)]  # type: ignore[attr-defined]


def test_the_longer_a_run_the_fewer_of_its_steps_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_folds, "_MOST_STEPS", 10)
    state = ViewState()
    folds = StepFolds(state)
    for site in "ab":
        folds.take(batch(site, range(100)), is_new=True)
    found = written(folds, completed=True)
    assert found[:12] == [*range(10), 10, 12]
    assert (len(found) < 40, state.stride >= 8, found == sorted(set(found))) == (True, True, True)


def test_a_site_that_is_far_behind_holds_up_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_folds, "_MOST_OPEN", 50)
    state = ViewState()
    folds = StepFolds(state)
    folds.take(batch("a", range(1)), is_new=True)
    folds.take(batch("b", range(200)), is_new=True)
    assert written(folds) == [0]  # the others were given up: only one site has them
    assert (state.step, folds.first) == (149, 1)
    folds.take(batch("a", range(1, 100)), is_new=True)
    assert state.late == 99


def test_one_site_alone_is_compared_with_nobody() -> None:
    folds = StepFolds(ViewState())
    folds.take(batch("a", range(5)), is_new=True)
    assert written(folds) == []
    assert written(folds, completed=True) == []
