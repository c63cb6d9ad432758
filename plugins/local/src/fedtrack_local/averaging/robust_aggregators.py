"""Aggregators that a minority of false results cannot move far: the coordinate-wise median and the trimmed mean.

Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", definitions 1 and 2. Both
work value by value, and ignore the weights that sites claim for themselves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fedtrack.client import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.averaging.aggregator import check_fits
from fedtrack_local.averaging.aggregators import Aggregator, CoordinateMedian, TrimmedMean
from fedtrack_local.models.arrays import Array, describe
from fedtrack_local.models.model_map import release

#: The values of all sites that are in memory at once.
_PIECE = 4 * 1024 * 1024


class RobustAggregator(Aggregator):
    """Keeps the results, which are mapped files, and puts them together value by value.

    Laws: the order of the results does not matter. The model of equal results is that result. A refused result changes
    nothing. Floats are computed in float64. Integers are rounded to the nearest, halves up. Of bools the majority
    counts, and a tie keeps the reference's value.

    Args:
        reference: The global model at the start of the round.

    Raises:
        ModelError: The reference holds complex values, which have no order.
    """

    def __init__(self, reference: Mapping[str, Array]) -> None:
        self._reference = dict(reference)
        self._results: list[tuple[Mapping[str, Array], bool]] = []
        for name, array in self._reference.items():
            if np.iscomplexobj(array):
                raise ModelError(f"The global model's {name!r} is {describe(array)}, which has no order.")

    @abstractmethod
    def _middle(self, values: Array) -> Array:
        """Return one value for each column of ``values``, float64 with a row for each result."""

    def accept(self, site: str, params: Mapping[str, Array], params_type: ParamsType, weight: float) -> None:
        """Keep one result; its weight is ignored.

        Raises:
            ModelError: A name, shape, dtype or value is wrong. The message names the site and the tensor.
        """
        check_fits(site, params, self._reference)
        for name, array in params.items():
            if array.dtype.kind not in "biu" and not np.isfinite(array).all():
                raise ModelError(f"{site}: tensor {name!r} holds a value that is not finite; the result is not used.")
        self._results.append((dict(params), ParamsType(params_type) is ParamsType.DIFF))

    def result(self) -> dict[str, Array]:
        """Return the new global model, and forget the results.

        Raises:
            ModelError: No result was accepted.
        """
        if not self._results:
            raise ModelError("There is nothing to average: no site's result was accepted in this round.")
        results, self._results = self._results, []
        return {name: self._tensor(name, array, results) for name, array in self._reference.items()}

    def _tensor(self, name: str, reference: Array, results: list[tuple[Mapping[str, Array], bool]]) -> Array:
        found = np.empty(reference.size, reference.dtype)
        before = reference.reshape(-1)
        step = max(1, _PIECE // len(results))
        for start in range(0, reference.size, step):
            piece = slice(start, start + step)
            values = np.empty((len(results), len(found[piece])), np.float64)
            for row, (params, difference) in zip(values, results, strict=True):
                row[:] = params[name].reshape(-1)[piece]
                if difference:
                    row += before[piece].astype(np.float64)
            found[piece] = _in_dtype(self._middle(values), before[piece])
        release(reference, *(params[name] for params, _ in results))
        return found.reshape(reference.shape)


class CoordinateMedianAggregator(RobustAggregator):
    """The median of the results, value by value: fewer than half of the sites cannot move it beyond the others."""

    name: ClassVar[str] = CoordinateMedian.name
    summary: ClassVar[str] = CoordinateMedian.summary

    def _middle(self, values: Array) -> Array:
        found: Array = np.median(values, axis=0)
        return found


class TrimmedMeanAggregator(RobustAggregator):
    """The mean of the results, value by value, without the largest and the smallest ones.

    Class attributes:
        share: The part of the results that is left out at each end, less than 0.5: one result at least, if there are
            three or more.
    """

    name: ClassVar[str] = TrimmedMean.name
    summary: ClassVar[str] = TrimmedMean.summary
    share: ClassVar[float] = 0.2

    def _middle(self, values: Array) -> Array:
        count = len(values)
        cut = max(int(self.share * count), 1 if count >= 3 else 0)
        found: Array = np.sort(values, axis=0)[cut : count - cut].mean(axis=0)
        return found


def _in_dtype(values: Array, reference: Array) -> Any:
    kind = reference.dtype.kind
    if kind == "b":
        return np.where(values == 0.5, reference, values > 0.5)
    if kind in "iu":
        limits = np.iinfo(reference.dtype)
        return np.clip(np.floor(values + 0.5), limits.min, limits.max).astype(reference.dtype)
    return values.astype(reference.dtype)
