"""WeightedAggregator: its laws, against float64 and exact arithmetic, and its memory."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedtrack.client.fl_model import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.averaging.accumulators import PIECE
from fedtrack_local.averaging.aggregator import MAX_WEIGHT, WeightedAggregator
from fedtrack_local.models.arrays import DTYPES, Array
from fedtrack_local.models.params import load_params, save_params

FULL, DIFF = ParamsType.FULL, ParamsType.DIFF
FLOATS = [np.dtype(code) for code in ("f2", "f4", "f8", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, "c8")]
INTEGERS = [np.dtype(code) for code in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]

law = settings(deadline=None, derandomize=True)
weights = st.floats(0.01, 1e6) | st.integers(1, 10_000)


def average(
    reference: Array, results: Iterable[tuple[Array, float]], params_type: ParamsType = FULL
) -> np.ndarray[Any, Any]:
    aggregator = WeightedAggregator({"w": reference})
    for number, (array, weight) in enumerate(results):
        aggregator.accept(f"site-{number}", {"w": array}, params_type, weight)
    result = aggregator.result()["w"]
    assert (result.shape, result.dtype) == (reference.shape, reference.dtype)
    return result


def floats(dtype: np.dtype[Any], count: int, size: int = 4) -> st.SearchStrategy[list[Array]]:
    """Return ``count`` tensors of a magnitude that every dtype can hold."""
    array = hnp.arrays(np.float64, size, elements=st.floats(-100, 100, width=16))
    return st.lists(array.map(lambda values: values.astype(dtype)), min_size=count, max_size=count)


def tolerance(dtype: np.dtype[Any], count: int) -> float:
    """Rounding to ``dtype`` once, and in float32 or float64 for each of ``count`` sites; values are below 100."""
    real = np.dtype(np.float32) if dtype == np.complex64 else dtype
    wide = np.float64 if dtype == np.float64 else np.float32
    finfo: Any = ml_dtypes.finfo
    return 150 * (float(finfo(real).eps) + 4 * count * float(np.finfo(wide).eps))


@law
@given(st.data(), st.sampled_from(FLOATS), st.integers(1, 6))
def test_floats_are_the_weighted_mean(data: st.DataObject, dtype: np.dtype[Any], count: int) -> None:
    arrays = data.draw(floats(dtype, count))
    shares = [float(data.draw(weights)) for _ in arrays]
    wide = np.complex128 if dtype == np.complex64 else np.float64
    expected = np.average([array.astype(wide) for array in arrays], axis=0, weights=shares)
    found = average(np.zeros(4, dtype), zip(arrays, shares, strict=True)).astype(wide)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(dtype, count))


@law
@given(st.data(), st.sampled_from(FLOATS), st.lists(weights, min_size=1, max_size=6))
def test_floats_in_which_all_sites_agree_keep_every_bit(
    data: st.DataObject, dtype: np.dtype[Any], shares: list[float]
) -> None:
    (array,) = data.draw(floats(dtype, 1))
    assert average(np.zeros(4, dtype), [(array, share) for share in shares]).tobytes() == array.tobytes()


@law
@given(st.data(), st.sampled_from(FLOATS), st.integers(1, 5))
def test_differences_average_to_what_full_floats_do(data: st.DataObject, dtype: np.dtype[Any], count: int) -> None:
    reference, *arrays = data.draw(floats(dtype, count + 1))
    shares = [float(data.draw(weights)) for _ in arrays]
    differences = [(array - reference).astype(dtype) for array in arrays]
    full = average(reference, zip(arrays, shares, strict=True)).astype(np.complex128)
    diff = average(reference, zip(differences, shares, strict=True), DIFF).astype(np.complex128)
    np.testing.assert_allclose(diff, full, rtol=0, atol=4 * tolerance(dtype, count))


@law
@given(st.data(), st.sampled_from(INTEGERS), st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_integers_are_the_rounded_weighted_mean(data: st.DataObject, dtype: np.dtype[Any], shares: list[int]) -> None:
    values = [data.draw(hnp.arrays(dtype, 3)) for _ in shares]
    found = average(np.zeros(3, dtype), zip(values, shares, strict=True))
    for index in range(3):
        column = [int(array[index]) for array in values]
        exact = Fraction(sum(x * share for x, share in zip(column, shares, strict=True)), sum(shares))
        assert min(column) <= int(found[index]) <= max(column)
        if max(column) - min(column) < 2**40:
            assert int(found[index]) == math.floor(exact + Fraction(1, 2))
        else:  # the distances themselves are rounded to float64
            assert abs(int(found[index]) - exact) <= 0.5 + 2.0**-48 * (max(column) - min(column))


@law
@given(st.data(), st.sampled_from(INTEGERS), st.lists(weights, min_size=1, max_size=6))
def test_integers_in_which_all_sites_agree_are_exact(
    data: st.DataObject, dtype: np.dtype[Any], shares: list[float]
) -> None:
    reference, array = data.draw(hnp.arrays(dtype, 3)), data.draw(hnp.arrays(dtype, 3))
    assert average(reference, [(array, share) for share in shares]).tolist() == array.tolist()
    # Whether or not the site's subtraction wrapped around.
    assert average(reference, [(array - reference, share) for share in shares], DIFF).tolist() == array.tolist()


def test_halves_are_rounded_up_whichever_site_comes_first() -> None:
    reference = np.zeros(2, np.int64)
    low, high = np.array([1, -2]), np.array([2, -1])
    assert average(reference, [(low, 3), (high, 3)]).tolist() == [2, -1]
    assert average(reference, [(high, 3), (low, 3)]).tolist() == [2, -1]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8])
def test_extreme_integers_do_not_wrap_around(dtype: Any) -> None:
    low, high = (np.array([limit], dtype) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    assert average(low, [(low, 1e-3), (high, 1e15)]).tolist() == high.tolist()
    assert average(low, [(high, 1e-3), (low, 1e15)]).tolist() == low.tolist()


def test_large_integers_keep_every_digit() -> None:
    base = 2**62
    found = average(np.zeros(1, np.int64), [(np.array([base + 1]), 1), (np.array([base + 4]), 2)])
    assert found.tolist() == [base + 3]


def test_a_mean_that_float64_rounds_out_of_range_does_not_wrap_around() -> None:
    highest = np.array([np.iinfo(np.int64).max])
    results = [(np.zeros(1, np.int64), 1.5), (highest, MAX_WEIGHT), (highest, MAX_WEIGHT)]
    assert average(highest, results).tolist() == highest.tolist()


@law
@given(st.lists(st.tuples(st.integers(1, 100), st.lists(st.booleans(), min_size=3, max_size=3)), min_size=1))
def test_bools_are_the_weighted_majority_and_a_tie_changes_nothing(votes: list[tuple[int, list[bool]]]) -> None:
    reference = np.array([True, False, True])
    arrays = [(np.array(values), float(weight)) for weight, values in votes]
    expected = []
    for index, before in enumerate(reference.tolist()):
        balance = sum(weight if values[index] else -weight for weight, values in votes)
        expected.append(balance > 0 if balance else before)
    assert average(reference, arrays).tolist() == expected
    assert average(reference, [(array ^ reference, weight) for array, weight in arrays], DIFF).tolist() == expected


@law
@given(st.data())
def test_averaging_averages_is_averaging_everything(data: st.DataObject) -> None:
    arrays = data.draw(floats(np.dtype(np.float64), 6))
    shares = [float(data.draw(weights)) for _ in arrays]
    reference = {"w": np.zeros(4)}
    whole = WeightedAggregator(reference)
    for start in (0, 2, 5):
        part = WeightedAggregator(reference)
        for array, share in list(zip(arrays, shares, strict=True))[start : {0: 2, 2: 5, 5: 6}[start]]:
            part.accept("site", {"w": array}, FULL, share)
        total = part.total_weight
        whole.accept("worker", part.result(), FULL, total)
    expected = average(np.zeros(4), zip(arrays, shares, strict=True))
    np.testing.assert_allclose(whole.result()["w"], expected, rtol=0, atol=1e-10)


def test_full_parameters_and_differences_meet_in_one_average() -> None:
    aggregator = WeightedAggregator({"w": np.array([10.0])})
    aggregator.accept("site-1", {"w": np.array([12.0])}, FULL, 1)
    aggregator.accept("site-2", {"w": np.array([4.0])}, DIFF, 1)
    assert aggregator.result()["w"].tolist() == [13.0]


def test_the_average_of_huge_numbers_does_not_overflow() -> None:
    huge = np.array([8e37, -8e37], np.float32)
    found = average(np.zeros(2, np.float32), [(huge, 1e6), (-huge, 1e6), (huge, 2e6)])
    np.testing.assert_allclose(found, huge / 2, rtol=1e-6)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
@pytest.mark.parametrize("code", ["F32", "BF16", "C64", "I64", "BOOL"])
def test_every_piece_of_a_tensor_is_averaged(size: int, code: str) -> None:
    array = (np.arange(size) % 7).astype(DTYPES[code])
    found = average(np.zeros(size, array.dtype), [(array, 1.0), (array, 2.0)])
    np.testing.assert_array_equal(found, array)


def test_memory_layout_does_not_matter() -> None:
    array = np.arange(12, dtype=np.complex64).reshape(3, 4)
    for layout in (np.asfortranarray(array), array.repeat(2, axis=1)[:, ::2], array[::-1][::-1]):
        np.testing.assert_array_equal(average(array, [(layout, 1.0), (layout, 2.0)]), array)


def test_equal_inputs_in_equal_order_give_equal_bits() -> None:
    generator = np.random.default_rng(0)
    arrays = [(generator.standard_normal(PIECE + 3, dtype=np.float32), weight) for weight in (3.0, 0.1, 7.0)]
    reference = np.zeros(PIECE + 3, np.float32)
    assert average(reference, arrays).tobytes() == average(reference, arrays).tobytes()


def test_the_model_comes_back_in_the_reference_s_order_and_nothing_is_written_to() -> None:
    reference: dict[str, Array] = {"b": np.ones(2), "a": np.zeros((), np.float16)}
    sent: dict[str, Array] = {"a": np.ones((), np.float16), "b": np.zeros(2)}
    for array in (*reference.values(), *sent.values()):
        array.flags.writeable = False
    aggregator = WeightedAggregator(reference)
    for site in ("site-1", "site-2"):
        aggregator.accept(site, sent, FULL, 1.0)
    result = aggregator.result()
    assert list(result) == ["b", "a"]
    result["b"][:] = 5
    assert sent["b"].tolist() == [0.0, 0.0]


def test_a_result_ends_the_round() -> None:
    aggregator = WeightedAggregator({"w": np.zeros(1)})
    with pytest.raises(ModelError, match="nothing to average"):
        aggregator.result()
    aggregator.accept("site-1", {"w": np.ones(1)}, FULL, 1.0)
    first = aggregator.result()
    with pytest.raises(ModelError, match="nothing to average"):
        aggregator.result()
    aggregator.accept("site-1", {"w": np.full(1, 3.0)}, FULL, 1.0)
    assert aggregator.result()["w"].tolist() == [3.0]
    assert first["w"].tolist() == [1.0]


def test_memory_is_one_model_however_many_sites(tmp_path: Path) -> None:
    size = 200 * 1024 * 1024
    for name in ("global", "site"):
        save_params({"w": np.full(size // 4, 0.5, np.float32), "b": np.ones(64, np.float32)}, tmp_path / name)
    tracemalloc.start()
    try:
        aggregator = WeightedAggregator(load_params(tmp_path / "global"))
        for number in range(5):
            aggregator.accept(f"site-{number}", load_params(tmp_path / "site"), FULL, number + 1)
        result = aggregator.result()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result["w"][-1] == 0.5
    assert peak < 1.05 * size


def test_a_half_precision_model_needs_no_second_copy_at_the_end(tmp_path: Path) -> None:
    params = {f"layer{number}": np.ones(256 * 1024, np.float16) for number in range(16)}
    accumulators = 2 * sum(array.nbytes for array in params.values())
    aggregator = WeightedAggregator(params)
    tracemalloc.start()
    try:
        aggregator.accept("site-1", params, FULL, 1.0)
        aggregator.result()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * accumulators
