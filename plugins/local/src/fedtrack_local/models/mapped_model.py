"""MappedModel: a model file that is mapped once and used many times."""

from __future__ import annotations

import math
import mmap
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fedtrack.errors import ModelError
from fedtrack_local.models.arrays import Array
from fedtrack_local.models.params import layout_of

#: Models up to this many bytes are copied at once: mapping the file and copying single pages would take longer.
COPIED = 4 * 1024 * 1024


class MappedModel:
    """The tensors of a model file, for many users one after the other.

    All users share the pages of one file. A page that a user changes is copied for this user; a small model is copied
    at once.

    Args:
        path: A safetensors file; it may be deleted afterwards.
        framework: The kind of tensors that ``fresh`` returns: ``pytorch`` or ``numpy``.

    Attributes:
        arrays: The tensors as read-only arrays.

    Raises:
        ModelError: The file is not a model, or the framework is ``pytorch`` and torch has not been imported.
    """

    def __init__(self, path: Path, framework: Literal["numpy", "pytorch"]) -> None:
        self._layout = layout_of(path)
        self._torch: Any = None
        if framework == "pytorch":
            self._torch = sys.modules.get("torch")
            if self._torch is None:
                raise ModelError(f"Loading {path} for PyTorch needs torch; import it, or use framework='numpy'.")
        self._file = path.open("rb")
        self.arrays = self._arrays(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
        small = sum(array.nbytes for array in self.arrays.values()) <= COPIED
        self._copied = self._on_private_pages() if small else None

    def fresh(self) -> dict[str, Any]:
        """Return the tensors as they are in the file; the caller may change them in place."""
        if self._copied is None:
            return self._on_private_pages()
        if self._torch is None:
            return {name: array.copy() for name, array in self._copied.items()}
        return {name: tensor.clone() for name, tensor in self._copied.items()}

    def close(self) -> None:
        """Release the file; tensors that ``fresh`` has returned stay valid."""
        self._file.close()

    def _on_private_pages(self) -> dict[str, Any]:
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._arrays(mapped) if self._torch is None else self._tensors(mapped)

    def _arrays(self, mapped: mmap.mmap) -> dict[str, Array]:
        return {
            name: np.ndarray(item.shape, item.dtype, buffer=mapped, offset=item.start)
            for name, item in self._layout.items()
        }

    def _tensors(self, mapped: mmap.mmap) -> dict[str, Any]:
        torch = self._torch
        found: dict[str, Any] = {}
        for name, item in self._layout.items():
            dtype, count = getattr(torch, item.dtype.name), math.prod(item.shape)
            if not count:
                found[name] = torch.empty(item.shape, dtype=dtype)
                continue
            found[name] = torch.frombuffer(mapped, dtype=dtype, count=count, offset=item.start).reshape(item.shape)
        return found
