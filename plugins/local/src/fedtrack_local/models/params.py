"""Parameters on disk: tensors by name in a safetensors file, never pickle.

A file is written under another name and then renamed, so a reader sees a whole model or none. Readers map it, so that
a model larger than memory can still be averaged.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file

from fedtrack.errors import ModelError
from fedtrack.files import sync, unwritable, written_beside
from fedtrack.json_text import decode_json
from fedtrack_local.models.arrays import DTYPES, Array, as_arrays
from fedtrack_local.models.model_map import ModelMap

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
                sync(temporary)
        if durable:
            sync(path.parent)
    except (SafetensorError, OSError) as error:
        raise unwritable(f"the model {path}", error) from None


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
        fields = decode_json(file.read(length), dict[str, msgspec.Raw])
        fields.pop("__metadata__", None)
        header = {name: decode_json(raw, _Entry) for name, raw in fields.items()}
        return {name: _layout(header[name], 8 + length) for name in order}


def load_metadata(path: Path) -> dict[str, str]:
    """Return the texts that ``save_params`` was given for this file.

    Raises:
        ModelError: As ``load_params``.
    """
    _, metadata = _validate(path, None)
    return {name: text for name, text in metadata.items() if name != _ORDER}


def _spec(array: Array) -> TensorSpec:
    return TensorSpec(dtype=array.dtype.name, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)


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
        order = decode_json(metadata.get(_ORDER, "[]"), list[str])
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
