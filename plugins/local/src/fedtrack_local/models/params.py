"""Parameters on disk: tensors by name in a safetensors file, never pickle.

A file is written under another name and then renamed, so a reader sees a whole model or none. Readers map it, so that
a model larger than memory can still be averaged.
"""

from __future__ import annotations

import contextlib
import math
import os
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
from fedtrack.tracking import shorten
from fedtrack_local.models.arrays import CODES, DTYPES, Array, as_arrays
from fedtrack_local.models.model_map import ModelMap

#: Metadata entry with the tensors' order. The format sorts them, but scripts zip ``params.values()`` with their layers.
_ORDER = "fedtrack.order"


#: The most parts of a file that are written at once; POSIX guarantees 16, and Linux and macOS have 1,024.
_MOST_PIECES = 512

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


class Limits(NamedTuple):
    """The most that is read of a model file; None stands for no limit.

    Attributes:
        max_bytes: Of the whole file.
        max_tensors: The number of its tensors.
        max_header: The bytes of its header.
        name: The model, for error messages.
    """

    max_bytes: int | None = None
    max_tensors: int | None = None
    max_header: int | None = None
    name: str = ""


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


def write_params(params: Mapping[str, Any], file: int, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``params`` into an open, empty file, as ``save_params`` does.

    The library writes only to paths, and replaces the file there. The format: https://github.com/huggingface/safetensors.

    Args:
        params: numpy arrays or torch tensors by name.
        file: The descriptor.
        metadata: Texts to keep in the file's header.

    Raises:
        ModelError: A name or a value cannot be kept in a model file.
        OSError: The file cannot be written.
    """
    arrays = as_arrays(params)
    header: dict[str, Any] = {"__metadata__": {**(metadata or {}), _ORDER: msgspec.json.encode(list(arrays)).decode()}}
    end, pieces = 0, []
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):  # so that all data is aligned
        array = arrays[name]
        header[name] = {"dtype": CODES[array.dtype], "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
        if array.nbytes:
            pieces.append(array.reshape(-1).view(np.uint8).data)
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    pieces[:0] = [memoryview(struct.pack("<Q", len(text)) + text)]
    while pieces:
        written = os.writev(file, pieces[:_MOST_PIECES])
        while pieces and written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        if written:
            pieces[0] = pieces[0][written:]


def load_params(
    path: Path,
    framework: Literal["numpy", "pytorch"] = "numpy",
    *,
    max_bytes: int | None = None,
    max_tensors: int | None = None,
    max_header: int | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Map the tensors of a model file, in the order in which they were saved.

    The file must not be changed while it is mapped; ``save_params`` never does, it replaces.

    Args:
        path: A safetensors file.
        framework: ``"numpy"`` returns read-only arrays. ``"pytorch"`` returns tensors that can be modified in
            place: the mapping is private, so that the first write to a page copies it and the file stays as it is.
        max_bytes: Refuse a file that is larger.
        max_tensors: Refuse a file with more tensors.
        max_header: Refuse a file with a longer header.
        name: The model, for error messages; its path if it has no name.

    Raises:
        ModelError: The file is missing, too large, damaged, or holds a dtype that models cannot have.
    """
    limits = Limits(max_bytes, max_tensors, max_header, name or str(path))
    if framework == "pytorch":
        return _load_torch(path, limits)
    if framework != "numpy":
        raise ModelError(f"Cannot load {path} for framework {framework!r}; valid are 'numpy' and 'pytorch'.")
    layout = layout_of(path, limits)
    with _refusals(limits.name), path.open("rb") as file:
        mapped = ModelMap.of(path, file)
        arrays: dict[str, Any] = {
            name: np.ndarray(item.shape, item.dtype, buffer=mapped, offset=item.start) for name, item in layout.items()
        }
        mapped.remember(arrays)
        return arrays


def layout_of(path: Path, limits: Limits | None = None) -> dict[str, TensorLayout]:
    """Return the place of each tensor of a model file, by name, in the order in which they were saved.

    Raises:
        ModelError: As ``load_params``.
    """
    limits = limits or Limits(name=str(path))
    order, _ = _validate(path, limits)
    with _refusals(limits.name), path.open("rb") as file:
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
    _, metadata = _validate(path, Limits(name=str(path)))
    return {name: text for name, text in metadata.items() if name != _ORDER}


def _spec(array: Array) -> TensorSpec:
    return TensorSpec(dtype=array.dtype.name, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn every exception that a reader raises for a file that is not a model into a ModelError."""
    try:
        yield
    except ModelError:
        raise
    except (*_READ_ERRORS, SafetensorError, msgspec.MsgspecError, struct.error) as error:
        raise ModelError(f"{name} is no usable model file: {error}.") from None


def _validate(path: Path, limits: Limits) -> tuple[list[str], dict[str, str]]:
    """Let safetensors check the header, and return the tensors' names in order and the metadata."""
    with _refusals(limits.name):
        if not path.is_file():  # opening a FIFO would wait forever
            raise ModelError(f"There is no model file {path}.")
        size = path.stat().st_size
        if limits.max_bytes is not None and size > limits.max_bytes:
            raise ModelError(
                f"{limits.name} has {size:,} bytes, more than the {limits.max_bytes:,} that a model may have."
            )
        _check_header(path, limits)
        with safe_open(path, framework="numpy") as file:
            names: list[str] = file.offset_keys()
            metadata: dict[str, str] = file.metadata() or {}
            if limits.max_tensors is not None and len(names) > limits.max_tensors:
                raise ModelError(
                    f"{limits.name} has {len(names):,} tensors, more than the {limits.max_tensors:,} that are read."
                )
            for name in names:
                if (code := file.get_slice(name).get_dtype()) not in DTYPES:
                    raise ModelError(
                        f"{limits.name}: tensor {shorten(name)} has dtype {code}; valid are {', '.join(DTYPES)}."
                    )
    return _saved_order(names, metadata), metadata


def _check_header(path: Path, limits: Limits) -> None:
    if limits.max_header is None:
        return
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    if length > limits.max_header:
        raise ModelError(
            f"{limits.name} has a header of {length:,} bytes, more than the {limits.max_header:,} that are read."
        )


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


def _load_torch(path: Path, limits: Limits) -> dict[str, Any]:
    order, _ = _validate(path, limits)
    try:
        with _refusals(limits.name), safe_open(path, framework="pt") as file:  # safetensors imports torch
            tensors = file.get_tensors()
    except ImportError:
        raise ModelError(f"Loading {path} for PyTorch needs torch; install it or use framework='numpy'.") from None
    return {name: tensors[name] for name in order}
