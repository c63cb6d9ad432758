"""ModelMap: a mapped model file that its arrays refer to, so that unchanged arrays need not be written again."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

#: An array's address, dtype, shape and strides, which identify its memory and how it is read.
_Place = tuple[int, tuple[int, ...], tuple[int, ...], np.dtype[Any]]


class ModelMap(mmap.mmap):
    """The read-only mapping of a model file; it is the ``base`` of every array on it.

    Attributes:
        path: The path at which the file was opened; another file may be there by now.
        device_and_inode: The identity of the mapped file.
    """

    path: Path
    device_and_inode: tuple[int, int]
    _places: list[tuple[str, _Place]]
    _address: int

    @staticmethod
    def of(path: Path, file: BinaryIO) -> ModelMap:
        """Map ``file``, which was opened from ``path``."""
        mapped = ModelMap(file.fileno(), 0, access=mmap.ACCESS_READ)
        status = os.fstat(file.fileno())
        mapped.path, mapped.device_and_inode = path, (status.st_dev, status.st_ino)
        mapped._address = _address(np.frombuffer(mapped, np.uint8))
        mapped._places = []
        return mapped

    def remember(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Remember the arrays, which are all tensors of the file."""
        self._places = _places(arrays.items())

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Return whether ``params`` are all the tensors of the file, under their names and in their order."""
        return all(isinstance(value, np.ndarray) for value in params.values()) and self._places == _places(
            params.items()
        )

    def release(self, array: np.ndarray[Any, Any]) -> None:
        """Free the memory of ``array``'s pages; reading the array again takes them from the page cache."""
        if not array.nbytes:
            return
        start = _address(array) - self._address
        first = start - start % mmap.PAGESIZE
        self.madvise(mmap.MADV_DONTNEED, first, start + array.nbytes - first)


def map_under(value: object) -> ModelMap | None:
    """Return the mapping that holds the array's memory; None for any other value."""
    base = getattr(value, "base", None)
    return base if isinstance(base, ModelMap) else None


def release(*arrays: np.ndarray[Any, Any]) -> None:
    """Free the memory of arrays that are mapped from a file; they can be read again from there."""
    for array in arrays:
        mapped = map_under(array)
        if mapped is not None:
            mapped.release(array)


def _places(arrays: Iterable[tuple[str, np.ndarray[Any, Any]]]) -> list[tuple[str, _Place]]:
    return [(name, (_address(array), array.shape, array.strides, array.dtype)) for name, array in arrays]


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
