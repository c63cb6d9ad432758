"""The weighted average of a round's results: FedAvg's aggregation step (McMahan et al. 2017, algorithm 1).

As in FLARE's ``WeightedAggregationHelper``, the weight of a result is its number of optimizer steps
(``NUM_STEPS_CURRENT_ROUND``, or 1.0 if a site does not report it). Unlike FLARE's, it refuses a result as a whole if
one tensor does not fit the model. The last bits of the average depend on the order of the results: the caller fixes it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from fedtrack.client import MetaKey, ParamsType
from fedtrack.errors import ModelError
from fedtrack.tracking import shorten
from fedtrack_local.averaging.accumulators import PIECE, Accumulator, Piece, accumulators_for
from fedtrack_local.averaging.aggregators import Aggregator, Weighted
from fedtrack_local.averaging.bundles import Bundle, bundles_of
from fedtrack_local.averaging.partial_average import PartialAverage
from fedtrack_local.models.arrays import Array, describe, supported
from fedtrack_local.models.model_map import release

log = logging.getLogger(__name__)

#: Weights count steps; float64 counts exactly up to here.
MAX_WEIGHT = 2.0**53

#: Largest model, in bytes of its accumulators, whose results are read once and held between check and addition. No
#: tensor in it is larger than a piece.
_SMALL_MODEL = 4 * PIECE


class WeightedAggregator(Aggregator):
    """Averages results one at a time in the memory of one model (float32 or wider), however many sites there are.

    Laws: the average of equal results is that result, bit for bit. Full parameters and their differences from the
    reference give the same average, and may be mixed. A refused result changes nothing. Merging a partial average has
    the same effect as accepting its sites' results, up to rounding.

    Args:
        reference: The global model at the start of the round. It is read while differences are accepted, and never
            written.

    Raises:
        ModelError: The reference holds a dtype that no model can have.
    """

    name: ClassVar[str] = Weighted.name
    summary: ClassVar[str] = Weighted.summary
    can_merge: ClassVar[bool] = True

    def __init__(self, reference: Mapping[str, Array]) -> None:
        self._reference = dict(reference)
        for name, array in self._reference.items():
            if not isinstance(array, np.ndarray) or not supported(array.dtype):
                raise ModelError(f"The global model's {name!r} is {_found(array)}, which cannot be averaged.")
        self._bundles = bundles_of(self._reference)
        self._is_small = sum(array.size * max(4, array.itemsize) for array in self._reference.values()) <= _SMALL_MODEL
        self._reset()

    def _reset(self) -> None:
        self.total_weight = 0.0
        self._accumulators: list[Accumulator] = []

    def accept(self, site: str, params: Mapping[str, Array], params_type: ParamsType, weight: float) -> None:
        """Add one result. ``params`` are read twice, or once if the model is small, and not kept.

        Args:
            site: The site that sent it, for error messages.
            params: The tensors of the global model, by name, in any order.
            params_type: Whether they are full parameters or differences from the reference.
            weight: Greater than 0 and at most ``MAX_WEIGHT``.

        Raises:
            ModelError: A weight, name, shape, dtype or value is wrong. The message has the site, the tensor, and what
                was found and expected.
        """
        weight = _checked_weight(weight, f"{site}: the result's weight")
        difference = ParamsType(params_type) is ParamsType.DIFF
        check_fits(site, params, self._reference)
        self._begin()
        checked = self._checked(site, params, difference)
        self.total_weight += weight
        for bundle, accumulator, held in zip(self._bundles, self._accumulators, checked, strict=True):
            pieces = held or accumulator.pieces(bundle.gather(params), difference)
            accumulator.add(pieces, weight, self.total_weight)
            if not self._is_small:
                self._release(bundle, params)

    def check(self, site: str, params: Mapping[str, Array], params_type: ParamsType, weight: float) -> None:
        """Check one result as ``accept`` does, without adding it.

        Raises:
            ModelError: See ``accept``.
        """
        _checked_weight(weight, f"{site}: the result's weight")
        check_fits(site, params, self._reference)
        self._begin()
        self._checked(site, params, ParamsType(params_type) is ParamsType.DIFF)

    def partial(self) -> PartialAverage:
        """Return the unrounded average of the results so far, and forget them.

        Raises:
            ModelError: No result was accepted.
        """
        self._check_any()
        accumulators, weight = self._accumulators, self.total_weight
        self._reset()
        states: dict[str, tuple[Array, ...]] = {}
        for bundle, accumulator in zip(self._bundles, accumulators, strict=True):
            states |= bundle.split_state(accumulator.state())
        return PartialAverage(weight, {name: states[name] for name in self._reference})

    def merge(self, partial: PartialAverage, origin: str) -> None:
        """Add a partial average of the same round, as if its sites had sent their results here.

        Args:
            partial: The partial average of another aggregator.
            origin: The group that it comes from, for error messages.

        Raises:
            ModelError: It does not fit this round's model. The aggregator cannot be used any more.
        """
        weight = _checked_weight(partial.weight, f"{origin}: the weight of the partial average")
        if partial.tensors.keys() != self._reference.keys():
            raise ModelError(f"{origin}: the partial average is not of the model of this round.")
        self._begin()
        self.total_weight += weight
        for bundle, accumulator in zip(self._bundles, self._accumulators, strict=True):
            try:
                accumulator.merge(bundle.gather_state(partial.tensors), weight, self.total_weight)
            except ValueError as error:
                raise ModelError(f"{origin}: tensor {_listed(bundle.names)} of the partial average {error}.") from None

    def result(self) -> dict[str, Array]:
        """Return the new global model, in the reference's order and dtypes, and forget the results.

        Floats are the weighted mean. Integers are the weighted mean, rounded to the nearest (halves up). Bools are the
        weighted majority; a tie keeps the reference's value.

        Raises:
            ModelError: No result was accepted.
        """
        self._check_any()
        accumulators, total = self._accumulators, self.total_weight
        self._reset()
        found: dict[str, Array] = {}
        for bundle in self._bundles:
            # Each accumulator is freed as soon as its tensors exist: those of integers and bools are copies.
            found |= bundle.split(accumulators.pop(0).result(total))
        return {name: found[name] for name in self._reference}

    def _begin(self) -> None:
        if not self._accumulators:
            self._accumulators = accumulators_for([bundle.gather(self._reference) for bundle in self._bundles])

    def _checked(self, site: str, params: Mapping[str, Array], difference: bool) -> list[Iterable[Piece] | None]:
        """Check each bundle and return its pieces; None instead of pieces if the model is too large to hold them."""
        found: list[Iterable[Piece] | None] = []
        for bundle, accumulator in zip(self._bundles, self._accumulators, strict=True):
            pieces = accumulator.pieces(bundle.gather(params), difference)
            if accumulator.fault(pieces):
                name, fault = self._find_fault(bundle, params, difference)
                raise ModelError(f"{site}: tensor {name!r} {fault}; the result is not averaged.")
            found.append(pieces if self._is_small else None)
            if not self._is_small:
                self._release(bundle, params)
        return found

    def _find_fault(self, bundle: Bundle, params: Mapping[str, Array], difference: bool) -> tuple[str, str | None]:
        names = {name: self._reference[name] for name in bundle.names}
        alone = zip(names, accumulators_for(names.values()), strict=True)
        faults = (
            (name, accumulator.fault(accumulator.pieces(params[name], difference))) for name, accumulator in alone
        )
        return next((name, fault) for name, fault in faults if fault)

    def _release(self, bundle: Bundle, params: Mapping[str, Array]) -> None:
        for name in bundle.names:
            release(params[name], self._reference[name])

    def _check_any(self) -> None:
        if not self.total_weight:
            raise ModelError("There is nothing to average: no site's result was accepted in this round.")


def check_fits(site: str, params: Mapping[str, Array], reference: Mapping[str, Array]) -> None:
    """Check that ``params`` have the names, shapes and dtypes of ``reference``; no value is read.

    Raises:
        ModelError: They differ. The message has the site, the tensor, and what was found and expected.
    """
    if params.keys() != reference.keys():
        missing, unknown = reference.keys() - params.keys(), params.keys() - reference.keys()
        raise ModelError(
            f"{site}: the result lacks {_listed(missing)} and has unexpected {_listed(unknown)}; "
            f"send exactly the {len(reference)} tensors of the model that was received{_hint(missing, unknown)}."
        )
    for name, expected in reference.items():
        found = params[name]
        fits = isinstance(found, np.ndarray) and found.dtype == expected.dtype and found.shape == expected.shape
        if not fits:
            raise ModelError(
                f"{site}: tensor {name!r} is {_found(found)}, expected {describe(expected)}; "
                "send the tensors as they are in the model that was received."
            )


def weight_of(meta: Mapping[str, Any]) -> float:
    """Return a result's weight: the steps that it reports, or FLARE's default 1.0 if it reports none.

    Raises:
        ModelError: The value is not a number greater than 0.
    """
    key = MetaKey.NUM_STEPS_CURRENT_ROUND
    return _checked_weight(meta.get(key, 1.0), f"meta[{key!r}]")


def weighted_metrics(results: Iterable[tuple[float, Mapping[str, Any]]]) -> dict[str, float]:
    """Return each metric's weighted mean over the sites that report it, in the order of first appearance.

    A NaN means that the site has no value: an empty validation set gives 0/0. It is left out, because all sites score
    the same model and the others' average is still valid. A metric that is NaN at every site stays NaN. A bool counts
    as 0 or 1. Values that are not numbers are left out with a warning.

    Args:
        results: Weight and metrics of each site. The weights must be valid, see ``weight_of``.
    """
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    for weight, metrics in results:
        for name, value in metrics.items():
            if not isinstance(value, Real | np.bool_):
                log.warning("Metric %r is %s, a %s; it is not averaged.", name, shorten(value), type(value).__name__)
                continue
            number = float(value)
            share = 0.0 if math.isnan(number) else weight
            weights[name] = weights.get(name, 0.0) + share
            sums[name] = sums.get(name, 0.0) + (share * number if share else 0.0)
    return {name: sums[name] / weights[name] if weights[name] else math.nan for name in sums}


def _checked_weight(weight: Any, what: str) -> float:
    if isinstance(weight, np.generic):
        weight = weight.item()  # numpy's integers are no Real numbers of Python
    number = isinstance(weight, Real) and not isinstance(weight, bool)
    if number and 0 < weight <= MAX_WEIGHT:
        return float(weight)
    raise ModelError(f"{what} is {shorten(weight)}; a weight is a number of steps, greater than 0 and at most 2**53.")


#: Prefixes that wrappers put before the names of a module's tensors, and how to get rid of them.
_WRAPPERS = {
    "module.": "DistributedDataParallel and DataParallel: send model.module.state_dict()",
    "_orig_mod.": "torch.compile: send model._orig_mod.state_dict()",
}


def _hint(missing: Iterable[str], unknown: Iterable[str]) -> str:
    """Return what may be wrong with the names of a result."""
    names = list(unknown)
    for prefix, wrapper in _WRAPPERS.items():
        if any(prefix in name for name in names) and {name.replace(prefix, "") for name in names} & set(missing):
            return f"; the names with {prefix!r} are those of {wrapper}"
    return "" if names else ", or let the job say FedAvg(params='partial') if sites may leave some out"


def _found(value: object) -> str:
    return describe(value) if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _listed(names: Iterable[str], limit: int = 3) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(map(repr, ordered[:limit])) + more if ordered else "nothing"
