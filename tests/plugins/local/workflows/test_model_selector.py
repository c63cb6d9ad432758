"""ModelSelector: which model is the best, and when."""

from __future__ import annotations

import json
import logging
import math

import pytest

from fedtrack.errors import ConfigError
from fedtrack_local.workflows.model_selector import ModelSelector


def test_the_best_is_strictly_better_than_every_one_before() -> None:
    selector = ModelSelector()
    values = [0.9, 0.1, 0.3, 0.3, 0.2, 0.4]
    best = [selector.observe(number, {"accuracy": value}) for number, value in enumerate(values)]
    # Round 0 scores the model that the job began with.
    assert best == [False, True, True, False, False, True]
    assert (selector.best_round, selector.best_value) == (5, 0.4)


def test_a_loss_is_better_when_it_is_lower() -> None:
    selector = ModelSelector("loss", "min")
    assert [selector.observe(number, {"loss": value}) for number, value in enumerate([9, 3, 4, 2, 2])] == [
        *(False, True, False),
        *(True, False),
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_what_is_not_finite_is_never_best(value: float, mode: str) -> None:
    selector = ModelSelector(mode=mode)  # type: ignore[arg-type]
    assert not selector.observe(1, {"accuracy": value})
    assert selector.observe(2, {"accuracy": 0.5})
    assert not selector.observe(3, {"accuracy": value})
    assert selector.best_value == 0.5


def test_a_missing_metric_is_said_once_with_those_that_exist(caplog: pytest.LogCaptureFixture) -> None:
    selector = ModelSelector()
    with caplog.at_level(logging.WARNING):
        assert not selector.observe(0, {"loss": 1.0, "acc": 0.5})
        assert not selector.observe(1, {})
    (record,) = caplog.records
    assert "by 'accuracy': the sites report 'acc', 'loss'. Name a metric" in record.getMessage()
    with caplog.at_level(logging.WARNING):
        ModelSelector().observe(1, {})
    assert "the sites report no metrics." in caplog.records[-1].getMessage()


def test_a_resumed_job_goes_on_selecting() -> None:
    before = ModelSelector()
    before.observe(1, {"accuracy": 0.5})
    after = ModelSelector()
    after.restore(json.loads(json.dumps(before.state(), allow_nan=False)))
    assert not after.observe(2, {"accuracy": 0.5})
    assert after.observe(3, {"accuracy": 0.6})
    fresh = ModelSelector()
    fresh.restore(json.loads(json.dumps(ModelSelector().state())))
    assert fresh.observe(1, {"accuracy": 0.0})


def test_a_mode_is_max_or_min() -> None:
    with pytest.raises(ConfigError, match="mode is 'best'; use 'max' or 'min'"):
        ModelSelector(mode="best")  # type: ignore[arg-type]
