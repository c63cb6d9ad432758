"""WeightedAggregator: a refused result is named by site and tensor, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fedtrack.client.fl_model import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.averaging.accumulators import PIECE
from fedtrack_local.averaging.aggregator import MAX_WEIGHT, WeightedAggregator, check_fits
from fedtrack_local.models.arrays import Array

FULL, DIFF = ParamsType.FULL, ParamsType.DIFF

REFERENCE: dict[str, Array] = {
    "w": np.zeros((2, 3), np.float32),
    "h": np.zeros(2, np.float16),
    "d": np.zeros(1, np.float64),
    "c": np.zeros(1, np.complex64),
    "i": np.zeros((), np.int64),
    "m": np.zeros(2, np.bool_),
}


def filled(shape: tuple[int, ...], value: Any, dtype: Any = np.float32) -> Array:
    array = np.zeros(shape, dtype)
    array.flat[-1] = value
    return array


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"w": None}, "lacks 'w' and has unexpected nothing.*, or let the job say FedAvg\\(params='partial'\\)"),
        ({"x": np.zeros(1), "y": np.zeros(1)}, "lacks nothing and has unexpected 'x', 'y'; send exactly the 6"),
        ({"w": np.zeros((3, 2), np.float32)}, r"'w' is float32 \(3, 2\), expected float32 \(2, 3\)"),
        ({"w": np.zeros(6, np.float32)}, r"'w' is float32 \(6,\), expected float32 \(2, 3\)"),
        ({"w": np.zeros((2, 3))}, r"'w' is float64 \(2, 3\), expected float32 \(2, 3\)"),
        ({"i": np.zeros((), np.int32)}, r"'i' is int32 \(\), expected int64 \(\)"),
        ({"i": 3}, r"'i' is a int, expected int64 \(\)"),
        ({"w": filled((2, 3), np.nan)}, r"'w' holds nan, expected finite numbers up to ±8.51e\+37"),
        ({"w": filled((2, 3), -np.inf)}, "'w' holds -inf"),
        ({"w": filled((2, 3), 3e38)}, r"'w' holds 3.* expected finite"),
        ({"h": filled((2,), np.inf, np.float16)}, "'h' holds inf"),
        ({"d": filled((1,), np.nan, np.float64)}, "'d' holds nan"),
        ({"c": filled((1,), complex(0, np.nan), np.complex64)}, "'c' holds nan"),
        ({"m": np.array([0, 2], np.uint8).view(np.bool_)}, "'m' holds the byte 2, expected 0 or 1"),
    ],
)
@pytest.mark.parametrize("params_type", ParamsType)
def test_a_result_that_does_not_fit_is_refused_and_leaves_no_trace(
    changed: dict[str, Any], said: str, params_type: ParamsType
) -> None:
    good = {name: np.ones_like(array) for name, array in REFERENCE.items()}
    bad = {name: array for name, array in {**good, **changed}.items() if array is not None}
    aggregator = WeightedAggregator(REFERENCE)
    with pytest.raises(ModelError, match=f"site-9: .*{said}"):
        aggregator.accept("site-9", bad, params_type, 5.0)
    aggregator.accept("site-1", good, params_type, 1.0)
    with pytest.raises(ModelError, match=f"site-9: .*{said}"):
        aggregator.accept("site-9", bad, params_type, 5.0)
    assert aggregator.total_weight == 1.0
    for name, array in aggregator.result().items():
        np.testing.assert_array_equal(array, good[name])


def test_a_difference_that_leaves_the_dtype_s_range_is_refused() -> None:
    aggregator = WeightedAggregator({"h": np.full(1, 60_000, np.float16)})
    with pytest.raises(ModelError, match=r"'h' holds 120000.0, expected finite numbers up to ±6.55e\+04"):
        aggregator.accept("site-1", {"h": np.full(1, 60_000, np.float16)}, DIFF, 1.0)


def test_a_fault_in_the_last_piece_is_found() -> None:
    size = 2 * PIECE + 1
    aggregator = WeightedAggregator({"w": np.zeros(size, np.float32)})
    with pytest.raises(ModelError, match="holds nan"):
        aggregator.accept("site-1", {"w": filled((size,), np.nan)}, FULL, 1.0)


@pytest.mark.parametrize(
    "weight", [0, -1, -0.0, math.nan, math.inf, -math.inf, 2 * MAX_WEIGHT, 10**30, True, "3", None]
)
def test_a_weight_is_a_positive_number(weight: Any) -> None:
    aggregator = WeightedAggregator({"w": np.zeros(1)})
    with pytest.raises(ModelError, match=r"site-1: the result's weight is .* greater than 0"):
        aggregator.accept("site-1", {"w": np.zeros(1)}, FULL, weight)
    assert aggregator.total_weight == 0


@pytest.mark.parametrize("array", [np.array(["x"]), np.zeros(1, np.complex128), [1.0]])
def test_a_global_model_that_cannot_be_averaged_is_refused(array: Any) -> None:
    with pytest.raises(ModelError, match=r"The global model's 'w' is .*cannot be averaged"):
        WeightedAggregator({"w": array})


@pytest.mark.parametrize(
    ("prefix", "remedy"), [("module.", r"model\.module\.state_dict"), ("_orig_mod.", r"model\._orig_mod\.state_dict")]
)
def test_the_names_of_a_wrapped_module_are_recognised(prefix: str, remedy: str) -> None:
    model = {"fc.weight": np.zeros(2, np.float32), "fc.bias": np.zeros(1, np.float32)}
    with pytest.raises(ModelError, match=rf"the names with '{prefix}' are those of .*: send {remedy}"):
        check_fits("site-1", {prefix + name: array for name, array in model.items()}, model)
