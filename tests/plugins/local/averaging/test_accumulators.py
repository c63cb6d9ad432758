"""Accumulators: the laws of one tensor's average, against numpy and exact arithmetic, and what cannot be averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedtrack_local.averaging.accumulators import PIECE, Accumulator, accumulators_for
from fedtrack_local.models.arrays import DTYPES, Array

law = settings(deadline=None, derandomize=True, max_examples=40)
WEIGHTS = st.integers(1, 1000)


def empty(reference: Array) -> Accumulator:
    (accumulator,) = accumulators_for([reference])
    return accumulator


def add(accumulator: Accumulator, arrays: Sequence[tuple[Array, float]], so_far: float = 0.0) -> float:
    for values, weight in arrays:
        so_far += weight
        accumulator.add(accumulator.pieces(values, difference=False), weight, so_far)
    return so_far


def average(reference: Array, arrays: Sequence[tuple[Array, float]]) -> Array:
    accumulator = empty(reference)
    return accumulator.result(add(accumulator, arrays))


@law
@given(st.lists(st.tuples(hnp.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)), WEIGHTS), min_size=1, max_size=6))
def test_floats_are_what_numpy_averages(arrays: list[tuple[Array, int]]) -> None:
    expected = np.average([values for values, _ in arrays], axis=0, weights=[weight for _, weight in arrays])
    np.testing.assert_allclose(average(np.zeros(3), arrays), expected, rtol=1e-12, atol=1e-9)


@law
@given(
    st.sampled_from(["F32", "BF16", "F64", "C64", "I64", "U8", "BOOL"]), st.integers(1, 4), st.integers(1, 4), st.data()
)
def test_what_two_have_been_given_merges_to_what_one_would_have(
    code: str, first: int, second: int, data: st.DataObject
) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arrays = [
        (generator.integers(0, 2, 5).astype(DTYPES[code]), float(generator.integers(1, 9)))
        for _ in range(first + second)
    ]
    one, left, right = (empty(np.zeros(5, DTYPES[code])) for _ in range(3))
    total = add(one, arrays)
    so_far, weight = add(left, arrays[:first]), add(right, arrays[first:])
    left.merge(right.state(), weight, so_far + weight)
    expected, found = one.result(total), left.result(total)
    assert found.dtype == expected.dtype
    if code in ("I64", "U8", "BOOL"):
        assert found.tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(found.astype(complex), expected.astype(complex), rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("code", sorted(DTYPES))
def test_the_average_of_one_result_is_that_result_in_every_dtype(code: str) -> None:
    values = (np.arange(6) % 2).astype(DTYPES[code]).reshape(2, 3)
    found = average(np.zeros((2, 3), DTYPES[code]), [(values, 7.0)])
    assert (found.dtype, found.shape, found.tobytes()) == (values.dtype, (2, 3), values.tobytes())


def test_a_negative_zero_stays_one() -> None:
    values = np.array([-0.0, 0.0], np.float32)
    assert np.signbit(average(values, [(values, 1.0), (values, 3.0)])).tolist() == [True, False]


def test_a_tensor_without_elements_has_an_average() -> None:
    values = np.zeros((0, 4), np.float32)
    assert average(values, [(values, 1.0), (values, 1.0)]).shape == (0, 4)


def test_a_large_tensor_is_read_piece_by_piece_and_a_small_one_at_once() -> None:
    large, small = np.zeros(2 * PIECE + 1, np.float32), np.zeros(PIECE, np.float32)
    sizes = [piece.size for _, piece in empty(large).pieces(large, difference=True)]
    assert sizes == [PIECE, PIECE, 1]
    assert len(list(empty(small).pieces(small, difference=True))) == 1


@pytest.mark.parametrize("position", [0, PIECE, 2 * PIECE])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.threat("T7")
def test_what_is_not_finite_is_found_in_every_piece(position: int, value: float) -> None:
    values = np.zeros(2 * PIECE + 1, np.float32)
    accumulator = empty(values)
    assert accumulator.fault(accumulator.pieces(values, difference=False)) is None
    values[position] = value
    fault = accumulator.fault(accumulator.pieces(values, difference=False))
    assert fault is not None
    assert fault.startswith(f"holds {value}, expected finite numbers up to ±")


def test_a_difference_that_overflows_is_a_fault_and_no_warning() -> None:
    largest = np.array([np.finfo(np.float32).max], np.float32)
    accumulator = empty(largest)
    assert accumulator.fault(accumulator.pieces(largest / 4, difference=False)) is None
    assert "holds inf, expected" in (accumulator.fault(accumulator.pieces(largest / 4, difference=True)) or "")


def test_half_precision_may_use_its_whole_range() -> None:
    largest = np.array([65504.0], np.float16)
    accumulator = empty(largest)
    assert accumulator.fault(accumulator.pieces(largest, difference=False)) is None
    assert average(largest, [(largest, 1.0), (largest, 2.0)]).tolist() == [65504.0]


def test_a_byte_that_is_no_bool_is_named() -> None:
    values = np.array([0, 1, 7], np.uint8).view(np.bool_)
    accumulator = empty(values)
    assert accumulator.fault(accumulator.pieces(values, difference=False)) == "holds the byte 7, expected 0 or 1"


@law
@given(hnp.arrays(np.int8, 4), hnp.arrays(np.int8, 4))
def test_the_difference_of_integers_undoes_the_wrap_around_of_its_subtraction(before: Array, after: Array) -> None:
    accumulator = empty(before)
    accumulator.add(accumulator.pieces(after - before, difference=True), 1.0, 1.0)
    assert accumulator.result(1.0).tolist() == after.tolist()


@pytest.mark.parametrize(
    ("reference", "state", "message"),
    [
        (np.zeros(2), (np.array([0.0, np.nan]),), "holds nan, expected finite"),
        (np.zeros(2, np.int64), (np.zeros(2, np.int64), np.array([0.0, np.inf])), "not finite"),
        (np.zeros(2, np.bool_), (np.array([np.nan, 0.0]),), "not finite"),
        (np.zeros(2, np.int64), (np.zeros(2, np.int64),), r"holds int64 \(2,\), expected int64 \(2,\), float64 \(2,\)"),
        (np.zeros(2, np.bool_), (np.zeros(3),), r"holds float64 \(3,\), expected float64 \(2,\)"),
    ],
)
def test_a_state_that_is_none_is_refused(reference: Array, state: tuple[Array, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        empty(reference).merge(state, 1.0, 1.0)


def test_nothing_that_was_given_is_written_to() -> None:
    given_: list[Any] = [np.ones(3, dtype) for dtype in (np.float32, np.int64, np.bool_, ml_dtypes.bfloat16)]
    for values in given_:
        values.flags.writeable = False
        average(values, [(values, 1.0), (values, 2.0)])[:] = 0
        assert values.tolist() == [1, 1, 1]
