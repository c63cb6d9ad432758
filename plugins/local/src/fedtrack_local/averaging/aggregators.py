"""Aggregators: what makes a new global model of the results of a round's sites, and how a job names one.

Importing this module loads no numpy: listing plugins does it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fedtrack.errors import NotSupported
from fedtrack.job import WEIGHTED
from fedtrack.plugins import registry

if TYPE_CHECKING:
    from fedtrack.client import ParamsType
    from fedtrack_local.averaging.partial_average import PartialAverage
    from fedtrack_local.models.arrays import Array


class Aggregator(Protocol):
    """Makes a new global model of the results of a round's sites; derive yours from it.

    One is made for each round, with the global model that entered the round, and used by one thread. The hook
    ``fedtrack_aggregators`` returns the class, and a job names it: ``FedAvg(aggregator="median")``.

    Class attributes:
        name: What a job calls it; unique among what is installed.
        summary: One line for listings.
        can_merge: Whether results may be taken in several places and put together: ``partial`` and ``merge`` work.
            Only such an aggregator serves jobs with a ClientAppRunner, whose processes each average their own sites.

    Args:
        reference: The global model that entered the round; never written.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    can_merge: ClassVar[bool] = False

    def __init__(self, reference: Mapping[str, Array]) -> None: ...

    @abstractmethod
    def accept(self, site: str, params: Mapping[str, Array], params_type: ParamsType, weight: float) -> None:
        """Take one result; called in the job's order of the sites, however they arrive.

        Args:
            site: Whose result it is.
            params: Its arrays by name, read-only; they stay valid until ``result`` has returned.
            params_type: Whether they are a whole model or differences to the reference.
            weight: How many steps are behind it, greater than 0.

        Raises:
            ModelError: It cannot be used: the site is reported, and the result must leave no trace. ``check_fits``
                checks names, shapes and dtypes.
        """

    def partial(self) -> PartialAverage:
        """Return what was accepted so far in a form that ``merge`` takes, and forget it.

        Raises:
            NotSupported: The aggregator cannot merge.
        """
        raise NotSupported(f"The aggregator {self.name!r} cannot merge.")

    def merge(self, partial: PartialAverage, origin: str) -> None:
        """Add what another aggregator of the same round has accepted.

        Args:
            partial: What the other one returned, perhaps in another process.
            origin: Where it comes from, for messages.

        Raises:
            ModelError: It does not fit; nothing more can be averaged.
            NotSupported: The aggregator cannot merge.
        """
        raise NotSupported(f"The aggregator {self.name!r} cannot merge.")

    @abstractmethod
    def result(self) -> Mapping[str, Array]:
        """Return the new global model, in the reference's order and dtypes; something was accepted."""


class Weighted:
    """What is registered for ``WeightedAggregator``, so that numpy is imported by the first round and no listing."""

    name: ClassVar[str] = WEIGHTED
    summary: ClassVar[str] = "Mean of the results, weighted with the number of local steps"
    can_merge: ClassVar[bool] = True

    def __call__(self, reference: Mapping[str, Array]) -> Aggregator:
        """Return a WeightedAggregator of ``reference``."""
        from fedtrack_local.averaging.aggregator import WeightedAggregator

        return WeightedAggregator(reference)


class CoordinateMedian:
    """What is registered for ``CoordinateMedianAggregator``; see ``Weighted``."""

    name: ClassVar[str] = "coordinate_median"
    summary: ClassVar[str] = "Median of the results, value by value (Yin et al. 2018); ignores weights"
    can_merge: ClassVar[bool] = False

    def __call__(self, reference: Mapping[str, Array]) -> Aggregator:
        """Return a CoordinateMedianAggregator of ``reference``."""
        from fedtrack_local.averaging.robust_aggregators import CoordinateMedianAggregator

        return CoordinateMedianAggregator(reference)


class TrimmedMean:
    """What is registered for ``TrimmedMeanAggregator``; see ``Weighted``."""

    name: ClassVar[str] = "trimmed_mean"
    summary: ClassVar[str] = "Mean without the outer 20 %, value by value (Yin et al. 2018); ignores weights"
    can_merge: ClassVar[bool] = False

    def __call__(self, reference: Mapping[str, Array]) -> Aggregator:
        """Return a TrimmedMeanAggregator of ``reference``."""
        from fedtrack_local.averaging.robust_aggregators import TrimmedMeanAggregator

        return TrimmedMeanAggregator(reference)


def make_aggregator(name: str, reference: Mapping[str, Any], needed: Sequence[str] = ("*",)) -> Aggregator:
    """Return a new aggregator for a round that ``reference`` enters.

    Args:
        name: Name of the aggregator.
        reference: The global model that entered the round.
        needed: Names or patterns of the tensors that a result must have; only the weighted mean allows others than all.

    Raises:
        ConfigError: A name or pattern of ``needed`` fits no tensor.
        PluginError: No installed plugin provides one of that name.
        ModelError: The reference cannot be averaged.
    """
    if name == WEIGHTED and tuple(needed) != ("*",):
        from fedtrack_local.averaging.subset_aggregator import SubsetAggregator

        return SubsetAggregator(reference, needed)
    make = Weighted() if name == WEIGHTED else registry().aggregator(name)
    made: Aggregator = make(reference)
    return made
