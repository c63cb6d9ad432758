"""Arrays: the values that a model can hold, and the tensors that become them.

Torch is never imported here: its tensors are recognised if the process has loaded it already.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from fedtrack.errors import ModelError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

#: Every dtype that a model can hold, by its code in a safetensors header.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
}

#: The codes by their dtypes.
CODES = {dtype: code for code, dtype in DTYPES.items()}

#: The same dtypes by their names, which torch uses too.
DTYPES_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
_DTYPES = frozenset(DTYPES.values())


def describe(array: Array) -> str:
    """Return dtype and shape for an error message, such as ``"float32 (3, 4)"``."""
    return f"{array.dtype.name} {array.shape}"


def supported(dtype: np.dtype[Any]) -> bool:
    """Return whether a model can hold tensors of ``dtype``."""
    return dtype in _DTYPES or dtype.name in DTYPES_BY_NAME


def as_arrays(params: Mapping[str, Any]) -> dict[str, Array]:
    """Return tensors as arrays; a tensor that is contiguous and in main memory is not copied.

    Args:
        params: numpy arrays or torch tensors by name.

    Raises:
        ModelError: A name or a value cannot be kept in a model file.
    """
    return {_checked_name(name): _as_array(name, value) for name, value in params.items()}


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or name == "__metadata__":
        raise ModelError(f"A tensor is named {name!r}; a name is a str other than '__metadata__'.")
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ModelError(f"A tensor is named {name!r}, which UTF-8 cannot encode; rename it.") from None
    return name


def _as_array(name: str, value: Any) -> Array:
    """Return ``value`` as a little-endian array in row-major order and main memory."""
    if isinstance(value, (np.ndarray, np.generic)):  # not with |, which builds a union for each tensor
        array = np.asarray(value, order="C")  # np.ascontiguousarray would turn a scalar into a vector
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        if array.dtype not in _DTYPES:
            raise _refused(name, array.dtype.name)
        return array
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        kind = type(value).__name__
        raise ModelError(f"Tensor {name!r} is a {kind}; params hold numpy arrays or torch tensors, so convert it.")
    if value.layout is not torch.strided or value.is_meta or value.is_quantized:
        what = "meta" if value.is_meta else "quantized" if value.is_quantized else str(value.layout)
        raise ModelError(f"Tensor {name!r} is a {what} tensor; only dense tensors can be sent, so convert it.")
    dtype, same_size = _dtypes_of_torch().get(value.dtype, (None, None))
    if dtype is None:
        raise _refused(name, str(value.dtype).removeprefix("torch."))
    if same_size is not None:
        return np.asarray(value.detach().view(same_size).numpy(force=True), order="C").view(dtype)
    return np.asarray(value.numpy(force=True), order="C")


@cache
def _dtypes_of_torch() -> dict[Any, tuple[np.dtype[Any], Any]]:
    """Return numpy's dtype of each torch dtype, and the dtype to view it as if torch cannot make an array of it."""
    torch = sys.modules["torch"]
    integers = {1: torch.uint8, 2: torch.int16}
    return {
        getattr(torch, name): (dtype, integers[dtype.itemsize] if dtype.isbuiltin != 1 else None)
        for name, dtype in DTYPES_BY_NAME.items()
        if hasattr(torch, name)
    }


def _refused(name: str, dtype: str) -> ModelError:
    return ModelError(f"Tensor {name!r} has dtype {dtype}; a model can hold {', '.join(sorted(DTYPES_BY_NAME))}.")
