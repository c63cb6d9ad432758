"""Parameters on disk: tensors by name in a safetensors file, never pickle.

A file is written under another name and then renamed, so a reader sees a whole model or none. Readers map it, so that
a model larger than memory can still be averaged. Torch is never imported here: its tensors are recognised if the
process has loaded it already.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import ml_dtypes
import msgspec
import numpy as np
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file

from fedtrack.errors import ModelError, WorkspaceError
from fedtrack.files import written_beside
from fedtrack_local.models.model_map import ModelMap

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

#: The same dtypes by their names, which torch uses too.
DTYPES_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
_DTYPES = frozenset(DTYPES.values())

#: Metadata entry with the tensors' order. The format sorts them, but scripts zip ``params.values()`` with their layers.
_ORDER = "fedtrack.order"


_READ_ERRORS = (OSError, ValueError, TypeError, RuntimeError)


class TensorLayout(NamedTuple):
    """The place of a tensor in a model file.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        start: Offset of its first byte.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]  # from the end of the header


def describe(array: Array) -> str:
    """Return dtype and shape for an error message, such as ``"float32 (3, 4)"``."""
    return f"{array.dtype.name} {array.shape}"


def supported(dtype: np.dtype[Any]) -> bool:
    """Return whether a model can hold tensors of ``dtype``."""
    return dtype in _DTYPES or dtype.name in DTYPES_BY_NAME


def save_params(
    params: Mapping[str, Any], path: Path, metadata: Mapping[str, str] | None = None, *, durable: bool = False
) -> None:
    """Write ``params`` to ``path`` (0600); an existing file is replaced in one step.

    Each tensor is written, also if it shares memory with another one. A tensor on an accelerator, or one that is not
    contiguous, is first copied in main memory; all others are written without a copy.

    Args:
        params: numpy arrays or torch tensors by name.
        path: The file; its folder exists.
        metadata: Texts to keep in the file's header.
        durable: Return only when the file survives a power failure.

    Raises:
        ModelError: A name or a value cannot be kept in a model file.
        WorkspaceError: The file cannot be written.
    """
    arrays = as_arrays(params)
    specs = {name: _spec(array) for name, array in arrays.items()}
    header = {**(metadata or {}), _ORDER: msgspec.json.encode(list(arrays)).decode()}
    try:
        with written_beside(path) as temporary:
            # `arrays` keeps the memory that the specs point to alive.
            serialize_file(specs, temporary, header)
            temporary.chmod(0o600)
            if durable:
                _sync(temporary)
        if durable:
            _sync(path.parent)
    except (SafetensorError, OSError) as error:
        raise WorkspaceError(f"Cannot write the model {path}: {error}; free space or check rights.") from None


def load_params(
    path: Path, framework: Literal["numpy", "pytorch"] = "numpy", *, max_bytes: int | None = None
) -> dict[str, Any]:
    """Map the tensors of a model file, in the order in which they were saved.

    The file must not be changed while it is mapped; ``save_params`` never does, it replaces.

    Args:
        path: A safetensors file.
        framework: ``"numpy"`` returns read-only arrays. ``"pytorch"`` returns tensors that can be modified in
            place: the mapping is private, so that the first write to a page copies it and the file stays as it is.
        max_bytes: Refuse a file that is larger.

    Raises:
        ModelError: The file is missing, too large, damaged, or holds a dtype that models cannot have.
    """
    if framework == "pytorch":
        return _load_torch(path, max_bytes)
    if framework != "numpy":
        raise ModelError(f"Cannot load {path} for framework {framework!r}; valid are 'numpy' and 'pytorch'.")
    layout = layout_of(path, max_bytes)
    with _refusals(path), path.open("rb") as file:
        mapped = ModelMap.of(path, file)
        arrays: dict[str, Any] = {
            name: np.ndarray(item.shape, item.dtype, buffer=mapped, offset=item.start) for name, item in layout.items()
        }
        mapped.remember(arrays)
        return arrays


def layout_of(path: Path, max_bytes: int | None = None) -> dict[str, TensorLayout]:
    """Return the place of each tensor of a model file, by name, in the order in which they were saved.

    Raises:
        ModelError: As ``load_params``.
    """
    order, _ = _validate(path, max_bytes)
    with _refusals(path), path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        fields = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
        fields.pop("__metadata__", None)
        header = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in fields.items()}
        return {name: _layout(header[name], 8 + length) for name in order}


def as_arrays(params: Mapping[str, Any]) -> dict[str, Array]:
    """Return tensors as arrays; a tensor that is contiguous and in main memory is not copied.

    Args:
        params: numpy arrays or torch tensors by name.

    Raises:
        ModelError: A name or a value cannot be kept in a model file.
    """
    return {_checked_name(name): _as_array(name, value) for name, value in params.items()}


def load_metadata(path: Path) -> dict[str, str]:
    """Return the texts that ``save_params`` was given for this file.

    Raises:
        ModelError: As ``load_params``.
    """
    _, metadata = _validate(path, None)
    return {name: text for name, text in metadata.items() if name != _ORDER}


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


def _spec(array: Array) -> TensorSpec:
    return TensorSpec(dtype=array.dtype.name, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)


def _refused(name: str, dtype: str) -> ModelError:
    return ModelError(f"Tensor {name!r} has dtype {dtype}; a model can hold {', '.join(sorted(DTYPES_BY_NAME))}.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn every exception that a reader raises for a file that is not a model into a ModelError."""
    try:
        yield
    except ModelError:
        raise
    except (*_READ_ERRORS, SafetensorError, msgspec.MsgspecError, struct.error) as error:
        raise ModelError(f"{path} is no usable model file: {error}.") from None


def _validate(path: Path, max_bytes: int | None) -> tuple[list[str], dict[str, str]]:
    """Let safetensors check the header, and return the tensors' names in order and the metadata."""
    with _refusals(path):
        if not path.is_file():  # opening a FIFO would wait forever
            raise ModelError(f"There is no model file {path}.")
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise ModelError(f"{path} has {size:,} bytes, more than the {max_bytes:,} that a model may have.")
        with safe_open(path, framework="numpy") as file:
            names: list[str] = file.offset_keys()
            metadata: dict[str, str] = file.metadata() or {}
            for name in names:
                if (code := file.get_slice(name).get_dtype()) not in DTYPES:
                    raise ModelError(f"{path}: tensor {name!r} has dtype {code}; valid are {', '.join(DTYPES)}.")
    return _saved_order(names, metadata), metadata


def _saved_order(names: list[str], metadata: Mapping[str, str]) -> list[str]:
    """Return ``names`` in the order of saving, or in the file's order if another program wrote it."""
    try:
        order = msgspec.json.decode(metadata.get(_ORDER, "[]"), type=list[str])
    except msgspec.MsgspecError:
        return names
    return order if sorted(order) == sorted(names) else names


def _layout(entry: _Entry, start: int) -> TensorLayout:
    dtype, (begin, end) = DTYPES[entry.dtype], entry.data_offsets
    if math.prod(entry.shape) * dtype.itemsize != end - begin:
        raise ValueError(f"{entry.dtype} {entry.shape} does not fill {end - begin} bytes")
    return TensorLayout(tuple(entry.shape), dtype, start + begin)


def _load_torch(path: Path, max_bytes: int | None) -> dict[str, Any]:
    order, _ = _validate(path, max_bytes)
    try:
        with _refusals(path), safe_open(path, framework="pt") as file:  # safetensors imports torch
            tensors = file.get_tensors()
    except ImportError:
        raise ModelError(f"Loading {path} for PyTorch needs torch; install it or use framework='numpy'.") from None
    return {name: tensors[name] for name in order}
