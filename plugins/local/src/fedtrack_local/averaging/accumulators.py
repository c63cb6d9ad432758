"""Accumulators: the running average of one tensor over the sites of a round, one class per kind of dtype.

A difference is added to the reference while it is read, so that one average can take full parameters and differences.
Tensors are processed in pieces that stay in the processor's cache: the only large memory is the accumulator itself.
The arithmetic is elementwise and in a fixed order, so that equal inputs give equal bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from fedtrack_local.averaging.memory_blocks import MemoryBlocks
from fedtrack_local.models.arrays import Array, describe

#: Elements per piece, which are 256 KiB of float32. Of the sizes from 16 Ki to 1 Mi it is about the fastest.
PIECE = 64 * 1024

#: The position of a piece in its tensor, and its values in the dtype of the computation.
Piece: TypeAlias = tuple[slice, Array]

_WHOLE = slice(None)


def accumulators_for(references: Collection[Array]) -> list[Accumulator]:
    """Return an empty accumulator for each of the tensors."""
    blocks = MemoryBlocks(sum(array.size * max(4, array.itemsize) for array in references))
    return [_accumulator_for(array, blocks) for array in references]


def _accumulator_for(reference: Array, blocks: MemoryBlocks) -> Accumulator:
    if reference.dtype == np.bool_:
        return BoolVote(reference)
    if np.issubdtype(reference.dtype, np.integer):
        return IntegerMean(reference)
    return FloatMean(reference, blocks)


class Accumulator(ABC):
    """The weighted average of the tensors that were added.

    Args:
        reference: The tensor at the start of the round. It gives shape and dtype, and differences are relative to it.
    """

    def __init__(self, reference: Array) -> None:
        self._shape, self._dtype = reference.shape, reference.dtype
        self._reference = _flat(reference)

    def pieces(self, values: Array, difference: bool) -> Iterable[Piece]:
        """Return ``values`` as pieces of full parameters, in the dtype of the computation.

        The pieces of a tensor of up to ``PIECE`` elements can be iterated more than once.

        Args:
            values: A tensor of the reference's shape and dtype.
            difference: Whether ``values`` are relative to the reference.
        """
        flat = _flat(values)
        if 0 < flat.size <= PIECE:
            return ((_WHOLE, self._full(_WHOLE, flat, difference)),)
        return ((part, self._full(part, flat[part], difference)) for part in _parts(flat.size))

    def fault(self, pieces: Iterable[Piece]) -> str | None:
        """Return why ``pieces`` cannot be averaged, or None if they can."""
        for _, piece in pieces:
            if fault := self._fault(piece):
                return fault
        return None

    def add(self, pieces: Iterable[Piece], weight: float, total: float) -> None:
        """Add ``pieces``.

        Args:
            pieces: A tensor in which ``fault`` finds nothing.
            weight: Their weight, greater than 0.
            total: The sum of all weights so far, this one included.
        """
        share = weight / total
        for part, piece in pieces:
            self._add(part, piece, weight, share)

    def result(self, total: float) -> Array:
        """Return the average in the reference's shape and dtype; it may share the accumulator's memory."""
        return self._result(total).view(self._dtype).reshape(self._shape)

    @abstractmethod
    def state(self) -> tuple[Array, ...]:
        """Return the unrounded sum or mean for another accumulator to ``merge``; it shares this one's memory."""

    @abstractmethod
    def merge(self, state: Sequence[Array], weight: float, total: float) -> None:
        """Add the tensors that another accumulator for the same reference has added.

        Args:
            state: The other one's ``state``.
            weight: The sum of the weights in it.
            total: The sum of all weights so far, including ``weight``.

        Raises:
            ValueError: ``state`` does not fit this accumulator, or holds numbers that are not finite.
        """

    def _full(self, part: slice, values: Array, difference: bool) -> Array:
        piece = self._typed(values)
        return self._restored(self._typed(self._reference[part]), piece) if difference else piece

    def _typed(self, piece: Array) -> Array:
        """Return ``piece`` as the dtype to compute in."""
        return piece

    def _restored(self, reference: Array, difference: Array) -> Array:
        """Return the full values. Integers wrap around as in the site's subtraction, so the sum is exact."""
        return np.add(reference, difference)

    def _fault(self, piece: Array) -> str | None:
        return None

    @abstractmethod
    def _add(self, part: slice, piece: Array, weight: float, share: float) -> None:
        """Add a piece whose weight is ``share`` of all weights so far; 1.0 starts a new average."""

    @abstractmethod
    def _result(self, total: float) -> Array: ...


class FloatMean(Accumulator):
    """A running mean in float32, in float64 for float64; a complex number counts as two floats.

    The mean moves towards each new value by the value's share (West 1979). Unlike a sum that is divided at the
    end, it cannot overflow, and parameters on which all sites agree, such as frozen layers, keep every bit.
    """

    def __init__(self, reference: Array, blocks: MemoryBlocks) -> None:
        super().__init__(reference)
        dtype = self._reference.dtype
        self._mean = blocks.empty(self._reference.size, np.float64 if dtype == np.float64 else np.float32)
        # A quarter of the largest number, so that the distance between two values cannot overflow.
        self._limit = min(_largest(dtype), _largest(self._mean.dtype) / 4)

    def _typed(self, piece: Array) -> Array:
        return piece if piece.dtype == self._mean.dtype else piece.astype(self._mean.dtype)

    def _restored(self, reference: Array, difference: Array) -> Array:
        with np.errstate(all="ignore"):  # _fault finds the NaN and infinities that result
            return np.add(reference, difference)

    def _fault(self, piece: Array) -> str | None:
        low, high = np.minimum.reduce(piece), np.maximum.reduce(piece)  # half the time of min() and max()
        if -self._limit <= low and high <= self._limit:  # false for NaN
            return None
        found = high if -self._limit <= low else low
        return f"holds {found}, expected finite numbers up to ±{self._limit:.3g}"

    def _add(self, part: slice, piece: Array, weight: float, share: float) -> None:
        mean = self._mean[part]
        if share == 1.0:
            mean[:] = piece
            return
        # Subtracting instead of adding keeps a negative zero.
        step = mean - piece
        step *= share
        mean -= step

    def _result(self, total: float) -> Array:
        if self._reference.dtype == self._mean.dtype:
            return self._mean
        # Written into the mean's own memory, which is large enough: half-precision models need no second copy.
        narrow: Array = self._mean.view(self._reference.dtype)[: self._mean.size]
        for part in _parts(self._mean.size):
            narrow[part] = self._mean[part].astype(self._reference.dtype)
        return narrow

    def state(self) -> tuple[Array, ...]:
        """Return the running mean."""
        return (self._mean,)

    def merge(self, state: Sequence[Array], weight: float, total: float) -> None:
        """Add the state of another accumulator."""
        (mean,) = _like(state, self._mean)
        for part in _parts(mean.size):
            if fault := self._fault(mean[part]):
                raise ValueError(fault)
        for part in _parts(mean.size):
            self._add(part, mean[part], weight, weight / total)


class IntegerMean(Accumulator):
    """The weighted mean, rounded to the nearest integer, halves up.

    It averages the distances from the first site's values, so that 64-bit integers on which all sites agree are exact,
    although float64 cannot hold them.
    """

    def __init__(self, reference: Array) -> None:
        super().__init__(reference)
        self._first = np.empty_like(self._reference)
        self._sum = np.empty(self._reference.size, np.float64)

    def _add(self, part: slice, piece: Array, weight: float, share: float) -> None:
        if share == 1.0:
            self._first[part], self._sum[part] = piece, 0.0
        else:
            self._sum[part] += weight * _distance(self._first[part], piece)

    def state(self) -> tuple[Array, ...]:
        """Return the first site's values and the weighted sum of the distances from them."""
        return self._first, self._sum

    def merge(self, state: Sequence[Array], weight: float, total: float) -> None:
        """Add the state of another accumulator."""
        first, sums = _like(state, self._first, self._sum)
        _check_finite(sums)
        for part in _parts(first.size):
            self._add(part, first[part], weight, weight / total)
            self._sum[part] += sums[part]

    def _result(self, total: float) -> Array:
        for part in _parts(self._first.size):
            mean = self._sum[part] / total
            rounded = np.floor(mean)
            rounded += mean - rounded >= 0.5
            self._first[part] = _moved(self._first[part], rounded)
        return self._first


class BoolVote(Accumulator):
    """A majority by weight; a tie keeps the reference's value. In a difference, True means that it changed."""

    def __init__(self, reference: Array) -> None:
        super().__init__(reference)
        self._votes = np.zeros(self._reference.size, np.float64)

    def _typed(self, piece: Array) -> Array:
        return piece.view(np.uint8)

    def _restored(self, reference: Array, difference: Array) -> Array:
        return np.bitwise_xor(reference, difference)

    def _fault(self, piece: Array) -> str | None:
        # A file can hold any byte; numpy computes nonsense with a bool that is neither 0 nor 1.
        largest = np.maximum.reduce(piece)
        return f"holds the byte {largest}, expected 0 or 1" if largest > 1 else None

    def _add(self, part: slice, piece: Array, weight: float, share: float) -> None:
        self._votes[part] += np.where(piece, weight, -weight)

    def state(self) -> tuple[Array, ...]:
        """Return the weight of the votes for True minus that of the votes for False."""
        return (self._votes,)

    def merge(self, state: Sequence[Array], weight: float, total: float) -> None:
        """Add the state of another accumulator."""
        (votes,) = _like(state, self._votes)
        _check_finite(votes)
        self._votes += votes

    def _result(self, total: float) -> Array:
        return np.where(self._votes == 0, self._reference, self._votes > 0)


def _flat(values: Array) -> Array:
    """Return ``values`` as a vector of real numbers or bools; no copy if they are contiguous."""
    flat = values if values.ndim == 1 and values.flags.c_contiguous else np.ascontiguousarray(values).reshape(-1)
    return flat.view(np.float32) if flat.dtype.kind == "c" else flat


def _like(state: Sequence[Array], *own: Array) -> Sequence[Array]:
    """Return ``state`` if its arrays have the shapes and dtypes of ``own``."""
    if [(array.shape, array.dtype) for array in state] != [(array.shape, array.dtype) for array in own]:
        raise ValueError(f"holds {', '.join(map(describe, state))}, expected {', '.join(map(describe, own))}")
    return state


def _check_finite(values: Array) -> None:
    if not np.isfinite(values).all():
        raise ValueError("holds numbers that are not finite")


def _parts(size: int) -> Iterator[slice]:
    return (slice(start, start + PIECE) for start in range(0, size, PIECE))


def _largest(dtype: np.dtype[Any]) -> float:
    finfo: Any = ml_dtypes.finfo  # typed for numpy's own floats only
    return float(finfo(dtype).max)


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"u{dtype.itemsize}")


def _distance(origin: Array, values: Array) -> Array:
    """Return ``values - origin``, exact in the integers and rounded once to float64."""
    up = values >= origin
    size = np.where(up, values - origin, origin - values).view(_unsigned(origin.dtype)).astype(np.float64)
    return np.where(up, size, -size)


def _moved(origin: Array, distance: Array) -> Array:
    """Return ``origin + distance``, computed in the integers and kept inside their range."""
    up, unsigned, range_ = distance >= 0, _unsigned(origin.dtype), np.iinfo(origin.dtype)
    room = np.where(up, range_.max - origin, origin - range_.min).view(unsigned)
    # Clipped first: casting a float beyond the integers' range is undefined.
    largest = np.nextafter(2.0 ** (8 * origin.dtype.itemsize), 0.0)
    size = np.minimum(np.minimum(np.abs(distance), largest).astype(unsigned), room)
    start = origin.view(unsigned)
    moved: Array = np.where(up, start + size, start - size).view(origin.dtype)
    return moved
