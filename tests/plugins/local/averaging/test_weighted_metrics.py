"""Weights and metrics of a round's results."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import ModelError
from fedtrack_local.averaging.aggregator import weight_of, weighted_metrics


def test_a_result_weighs_its_steps_or_1() -> None:
    assert weight_of({"NUM_STEPS_CURRENT_ROUND": 200, "other": "x"}) == 200.0
    assert weight_of({"NUM_STEPS_CURRENT_ROUND": np.int64(7)}) == 7.0
    assert weight_of({}) == 1.0


@pytest.mark.parametrize("value", [0, -5, math.nan, math.inf, True, np.True_, "200", None, [1]])
def test_steps_that_are_no_positive_number_are_refused(value: Any) -> None:
    with pytest.raises(ModelError, match=r"meta\['NUM_STEPS_CURRENT_ROUND'\] is .*; a weight is a number of steps"):
        weight_of({"NUM_STEPS_CURRENT_ROUND": value})


def test_each_metric_is_averaged_over_the_sites_that_report_it() -> None:
    found = weighted_metrics([(3.0, {"accuracy": 0.5, "loss": 2.0}), (1.0, {"accuracy": 0.9}), (1.0, {})])
    assert found == pytest.approx({"accuracy": 0.6, "loss": 2.0})
    assert list(found) == ["accuracy", "loss"]
    assert weighted_metrics([]) == {}


def test_a_site_without_a_value_does_not_blank_the_average() -> None:
    found = weighted_metrics([(1.0, {"a": math.nan, "b": math.nan}), (1.0, {"a": 0.5}), (9.0, {"c": math.inf})])
    assert found["a"] == 0.5
    assert math.isnan(found["b"])
    assert found["c"] == math.inf


def test_numbers_of_any_kind_count_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = weighted_metrics(
            [(1.0, {"a": np.float32(0.5), "b": True, "c": np.False_, "d": 2, "name": "x", "none": None})]
        )
    assert found == {"a": 0.5, "b": 1.0, "c": 0.0, "d": 2.0}
    assert all(type(value) is float for value in found.values())
    assert [record.getMessage() for record in caplog.records] == [
        "Metric 'name' is 'x', a str; it is not averaged.",
        "Metric 'none' is None, a NoneType; it is not averaged.",
    ]
