"""What a model can hold, and how values become it; tensors of torch are in test_torch_params.py."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedtrack.errors import ModelError
from fedtrack_local.models.arrays import DTYPES, as_arrays, describe, supported


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_dtype_of_the_format_is_taken_without_a_copy(dtype: np.dtype[Any]) -> None:
    values = np.zeros((2, 3), dtype)
    assert as_arrays({"w": values})["w"] is values
    assert supported(dtype)


def test_a_scalar_stays_one_and_a_column_becomes_row_major() -> None:
    found = as_arrays({"scalar": np.float32(2.5), "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3))})
    assert found["scalar"].shape == ()
    assert found["columns"].flags.c_contiguous
    assert found["columns"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_big_endian_numbers_keep_their_values() -> None:
    (found,) = as_arrays({"w": np.array([1.0, -2.0], ">f4")}).values()
    assert found.dtype == np.dtype("<f4")
    assert found.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("name", [7, None, "__metadata__", "a\ud800b"])
def test_a_name_that_no_file_can_hold_is_refused_with_the_name(name: Any) -> None:
    with pytest.raises(ModelError, match="A tensor is named") as refused:
        as_arrays({name: np.zeros(1)})
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize(("value", "said"), [("text", "is a str"), ([1.0], "is a list"), (None, "is a NoneType")])
def test_a_value_that_is_no_tensor_is_refused_with_its_type(value: Any, said: str) -> None:
    with pytest.raises(ModelError, match=f"Tensor 'w' {said}; params hold numpy arrays or torch tensors"):
        as_arrays({"w": value})


@pytest.mark.parametrize("dtype", [np.complex128, np.longdouble, "U3", object, ml_dtypes.int4])
def test_a_dtype_that_no_file_can_hold_is_refused_with_those_that_can(dtype: Any) -> None:
    with pytest.raises(ModelError, match=r"Tensor 'w' has dtype .*; a model can hold bfloat16, bool, "):
        as_arrays({"w": np.zeros(2, dtype)})
    assert not supported(np.dtype(dtype))


def test_an_array_is_described_by_dtype_and_shape() -> None:
    assert describe(np.zeros((3, 4), np.float32)) == "float32 (3, 4)"
