"""SubsetAggregator: the weighted average of results that may lack tensors, such as those of LoRA and FedBN.

LoRA trains a few added tensors of a frozen model (Hu et al. 2021). FedBN keeps the layers of batch normalisation at the
sites (Li et al. 2021). Each tensor is averaged over the sites that sent it, as FLARE's ``WeightedAggregationHelper``
does; a tensor that no site sent keeps its global value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import ClassVar

from fedtrack.client import ParamsType
from fedtrack.errors import ConfigError, ModelError
from fedtrack_local.averaging.aggregator import WeightedAggregator, check_fits
from fedtrack_local.averaging.aggregators import Aggregator, Weighted
from fedtrack_local.averaging.partial_average import PartialAverage
from fedtrack_local.models.arrays import Array


class SubsetAggregator(Aggregator):
    """Averages each tensor for itself, with the laws of ``WeightedAggregator``.

    Args:
        reference: The global model at the start of the round.
        needed: Names of the tensors that each result must have, or patterns of them (``lora_*``).

    Raises:
        ConfigError: A name or pattern fits no tensor of the model.
        ModelError: The reference holds a dtype that no model can have.
    """

    name: ClassVar[str] = Weighted.name
    summary: ClassVar[str] = Weighted.summary
    can_merge: ClassVar[bool] = True

    def __init__(self, reference: Mapping[str, Array], needed: Sequence[str]) -> None:
        self._reference = dict(reference)
        self._needed = {name for name in reference if any(fnmatchcase(name, pattern) for pattern in needed)}
        for pattern in needed:
            if not any(fnmatchcase(name, pattern) for name in reference):
                raise ConfigError(
                    f"params has {pattern!r}, which fits no tensor of the model; its tensors are "
                    f"{', '.join(list(reference)[:10])}{' ...' if len(reference) > 10 else ''}."
                )
        self._averages = {name: WeightedAggregator({name: array}) for name, array in reference.items()}
        self.total_weight = 0.0

    def accept(self, site: str, params: Mapping[str, Array], params_type: ParamsType, weight: float) -> None:
        """Add one result; it may lack the tensors that are not needed.

        Raises:
            ModelError: A weight, name, shape, dtype or value is wrong, or a needed tensor is missing.
        """
        sent = {name: array for name, array in self._reference.items() if name in params or name in self._needed}
        if not params:
            raise ModelError(f"{site}: the result has no tensor; send those that were trained.")
        check_fits(site, params, sent or self._reference)
        for name in params:  # all of them, before the first one is added
            self._averages[name].check(site, {name: params[name]}, params_type, weight)
        for name in params:
            self._averages[name].accept(site, {name: params[name]}, params_type, weight)
        self.total_weight += weight

    def partial(self) -> PartialAverage:
        """Return the unrounded averages of the results so far, and forget them.

        Raises:
            ModelError: No result was accepted.
        """
        self._check_any()
        found = {name: average.partial() for name, average in self._averages.items() if average.total_weight}
        total, self.total_weight = self.total_weight, 0.0
        tensors = {name: partial.tensors[name] for name, partial in found.items()}
        return PartialAverage(total, tensors, {name: partial.weight for name, partial in found.items()})

    def merge(self, partial: PartialAverage, origin: str) -> None:
        """Add the partial averages of another aggregator.

        Raises:
            ModelError: They do not fit this round's model. The aggregator cannot be used any more.
        """
        if not partial.tensors.keys() <= self._reference.keys():
            raise ModelError(f"{origin}: the partial average is not of the model of this round.")
        for name, state in partial.tensors.items():
            weight = partial.weights.get(name, partial.weight)
            self._averages[name].merge(PartialAverage(weight, {name: state}), origin)
        self.total_weight += partial.weight

    def result(self) -> dict[str, Array]:
        """Return the new global model, and forget the results; a tensor that no site sent is that of the reference.

        Raises:
            ModelError: No result was accepted.
        """
        self._check_any()
        self.total_weight = 0.0
        return {
            name: average.result()[name] if average.total_weight else self._reference[name]
            for name, average in self._averages.items()
        }

    def _check_any(self) -> None:
        if not self.total_weight:
            raise ModelError("There is nothing to average: no site's result was accepted in this round.")
