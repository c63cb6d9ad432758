"""Spread: compared with numpy on values of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedtrack.view.spread import quantile, spread_of, worst_site

VALUES = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60)


@given(VALUES, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]))
@example([0.1, 0.1, 0.1], 0.9)
@example([1.0, 2.0], 0.5)
def test_quantiles_are_those_of_numpy_bit_by_bit(values: list[float], q: float) -> None:
    assert quantile(sorted(values), q) == np.quantile(np.array(values), q)


@given(VALUES, st.lists(st.floats(0.5, 1e6), min_size=60, max_size=60))
def test_a_spread_is_that_of_numpy(values: list[float], weights: list[float]) -> None:
    array, shares = np.array(values), np.array(weights[: len(values)])
    sites = [f"s{index}" for index in range(len(values))]
    found = spread_of(dict(zip(sites, values, strict=True)), dict(zip(sites, weights, strict=False)))
    assert found is not None
    mean = np.average(array, weights=shares)
    scale = float(np.abs(array).max())
    assert (found.sites, found.min, found.max) == (len(values), array.min(), array.max())
    assert found.mean == pytest.approx(array.mean(), rel=1e-12, abs=1e-12 * scale)
    assert found.std == pytest.approx(array.std(), rel=1e-9, abs=1e-12 * scale)
    assert found.weighted_mean == pytest.approx(mean, rel=1e-12, abs=1e-12 * scale)
    expected = math.sqrt(np.average((array - mean) ** 2, weights=shares))
    assert found.weighted_std == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale)


def test_values_that_are_not_finite_are_left_out_and_no_weight_is_zero() -> None:
    found = spread_of({"a": 1.0, "b": math.nan, "c": math.inf, "d": 3.0}, {"a": 0.0, "d": math.nan})
    assert found is not None
    assert (found.sites, found.mean, found.weighted_mean, found.max) == (2, 2.0, 2.0, 3.0)
    assert spread_of({"a": math.nan}, {}) is None


def test_a_sum_beyond_a_float_is_infinite_and_no_error() -> None:
    found = spread_of({"a": 1.7e308, "b": 1.7e308}, {})
    assert found is not None
    assert (found.mean, found.p50) == (math.inf, 1.7e308)


@pytest.mark.parametrize(
    ("values", "better", "worst"),
    [
        ({"a": 0.5, "b": 0.9}, "higher", "a"),
        ({"a": 0.5, "b": 0.9}, "lower", "b"),
        ({"b": 1.0, "a": 1.0}, "lower", "a"),
        ({"a": 0.1, "b": math.nan, "c": 9.0}, "lower", "b"),
        ({"a": 0.1, "c": math.inf}, "lower", "c"),
        ({"a": 0.1, "c": -math.inf}, "higher", "c"),
    ],
)
def test_the_worst_site_is_the_one_with_the_worst_value(values: dict[str, float], better: str, worst: str) -> None:
    assert worst_site(values, better) == worst
