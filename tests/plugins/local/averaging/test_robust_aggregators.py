"""Robust aggregators give exactly numpy's values, and a strange minority cannot move them beyond the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedtrack.client import ParamsType
from fedtrack.errors import ModelError
from fedtrack.plugins import registry
from fedtrack_local.averaging import robust_aggregators
from fedtrack_local.averaging.aggregators import Aggregator, make_aggregator
from fedtrack_local.averaging.robust_aggregators import CoordinateMedianAggregator, TrimmedMeanAggregator

pytestmark = pytest.mark.threat("T7")

FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)


def trimmed(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of all but the largest and the smallest fifth, by its definition."""
    cut = max(len(values) // 5, 1 if len(values) >= 3 else 0)
    kept = np.sort(values, axis=axis)[cut : len(values) - cut]
    return kept.mean(axis=axis)


KINDS = {"coordinate_median": np.median, "trimmed_mean": trimmed}


def run(
    kind: str, reference: Mapping[str, Any], results: list[dict[str, Any]], *, diff: bool = False
) -> dict[str, Any]:
    aggregator = make_aggregator(kind, reference)
    for number, params in enumerate(results):
        params_type = ParamsType.DIFF if diff and number % 2 else ParamsType.FULL
        sent = (
            {n: np.asarray(v - reference[n]) for n, v in params.items()} if params_type is ParamsType.DIFF else params
        )
        aggregator.accept(f"site-{number}", sent, params_type, 2.0**53 if number == 0 else 1.0)
    return dict(aggregator.result())


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 11])
def test_each_value_is_that_of_numpy(kind: str, count: int, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robust_aggregators, "_PIECE", 64)  # many pieces
    source = np.random.default_rng(count)
    reference = {"w": np.zeros((7, 9), dtype), "b": np.zeros((), dtype), "none": np.zeros((0, 2), dtype)}
    results = [
        {n: np.asarray(source.normal(size=a.shape)).astype(dtype) for n, a in reference.items()} for _ in range(count)
    ]
    found = run(kind, reference, results)
    assert list(found) == list(reference)
    for name, array in reference.items():
        expected = KINDS[kind](np.stack([result[name].astype(np.float64) for result in results]), axis=0)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], np.asarray(expected).astype(dtype))


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_claimed_weights_do_not_matter_and_one_stranger_moves_nothing_far(kind: str) -> None:
    reference = {"w": np.zeros(4, np.float32)}
    honest = [{"w": np.full(4, value, np.float32)} for value in (1.0, 1.5, 2.0, 2.5)]
    for bad in (-1e30, 1e30, 0.0):
        results = [{"w": np.full(4, bad, np.float32)}, *honest]
        found = run(kind, reference, results)["w"]
        assert ((found >= 1.0) & (found <= 2.5)).all()
        np.testing.assert_array_equal(run(kind, reference, results[::-1])["w"], found)


@pytest.mark.parametrize("kind", KINDS)
def test_differences_and_whole_models_may_be_mixed(kind: str) -> None:
    reference = {"w": np.arange(4.0), "n": np.array(10)}
    results = [{"w": reference["w"] + step, "n": np.asarray(reference["n"] + step)} for step in (1, 2, 3, 4, 5)]
    whole, mixed = run(kind, reference, results), run(kind, reference, results, diff=True)
    assert whole["n"] == mixed["n"] == 13
    np.testing.assert_array_equal(whole["w"], mixed["w"])


@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_rounded_and_bools_counted(kind: str) -> None:
    reference = {"n": np.array([0, 250], np.uint8), "flag": np.array([True, False, False])}
    results = [
        {"n": np.array([1, 255], np.uint8), "flag": np.array([True, False, True])},
        {"n": np.array([2, 255], np.uint8), "flag": np.array([False, True, True])},
    ]
    found = run(kind, reference, results)
    assert found["n"].tolist() == [2, 255]
    assert found["flag"].tolist() == [True, False, True]  # a tie keeps the reference's value
    assert (found["n"].dtype, found["flag"].dtype) == (np.uint8, np.bool_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_value_that_is_not_finite_is_refused_by_the_name_of_its_tensor(kind: str, bad: float, dtype: Any) -> None:
    reference = {"a": np.zeros(3, dtype), "layer.weight": np.zeros(3, dtype)}
    aggregator = make_aggregator(kind, reference)
    aggregator.accept("site-1", {n: a + dtype(1) for n, a in reference.items()}, ParamsType.FULL, 1.0)
    wrong = {"a": np.zeros(3, dtype), "layer.weight": np.array([0, bad, 0]).astype(dtype)}
    with pytest.raises(ModelError, match=r"site-2: tensor 'layer\.weight' holds a value that is not finite"):
        aggregator.accept("site-2", wrong, ParamsType.FULL, 1.0)
    with pytest.raises(ModelError, match="lacks 'a'"):
        aggregator.accept("site-3", {"layer.weight": reference["a"]}, ParamsType.FULL, 1.0)
    assert all((array == 1).all() for array in aggregator.result().values())


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_order_and_a_round_without_results_are_refused(kind: str) -> None:
    with pytest.raises(ModelError, match="has no order"):
        make_aggregator(kind, {"z": np.zeros(2, np.complex64)})
    with pytest.raises(ModelError, match="nothing to average"):
        make_aggregator(kind, {"w": np.zeros(2)}).result()


def test_what_is_listed_is_what_is_made() -> None:
    for name, made in (("coordinate_median", CoordinateMedianAggregator), ("trimmed_mean", TrimmedMeanAggregator)):
        listed = registry().aggregators[name]
        found: Aggregator = listed({"w": np.zeros(1)})
        assert type(found) is made
        assert (found.name, found.summary, found.can_merge) == (listed.name, listed.summary, listed.can_merge)
