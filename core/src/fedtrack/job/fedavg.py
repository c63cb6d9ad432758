"""FedAvg: the job's description of federated averaging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fedtrack.errors import ConfigError, PluginError
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow

#: Name of the aggregator that every engine has.
WEIGHTED = "weighted"


class FedAvg(Workflow):
    """Federated averaging: rounds of local training, averaged with the number of local steps as weight.

    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017,
    algorithm 1. Names and weights are those of FLARE's ``nvflare.app_common.workflows.fedavg.FedAvg``.

    Attributes:
        num_clients: The number of sites that take part in a round; None means all of them.
        fraction: The share of the living sites that take part in a round, 0 < fraction <= 1; at least one takes part.
        num_rounds: The number of rounds.
        start_round: Number of the first round. Rounds are counted over the job: a FedAvg that follows another workflow
            goes on after that one's last round, and with its model, unless ``start_round`` is a later round.
        persistor_id: Accepted for jobs written for FLARE; a job has one persistor.
        task_timeout: Seconds within which a site must answer a task; 0 means that only the job's ``idle_timeout``
            limits the time.
        evaluate_final_model: Whether to ask the sites for the metrics of the last round's model.
        seed: The seed for the choice of sites, if not all take part.
        aggregator: Name of the aggregator, which makes the new model from the sites' results; see the hook
            ``fedtrack_aggregators``.
    """

    ignored: ClassVar[frozenset[str]] = frozenset({"persistor_id"})

    num_clients: int | None = None
    fraction: float | None = None
    num_rounds: int = 5
    start_round: int = 0
    persistor_id: str = "persistor"
    task_timeout: float = 0.0
    evaluate_final_model: bool = False
    seed: int = 0
    aggregator: str = WEIGHTED

    def __post_init__(self) -> None:
        if self.num_clients is not None and self.num_clients < 1:
            raise ConfigError(f"FedAvg: num_clients is {self.num_clients}; it must be 1 or more.")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ConfigError(f"FedAvg: fraction is {self.fraction}; it must be greater than 0 and at most 1.")
        if self.fraction is not None and self.num_clients is not None:
            raise ConfigError(
                f"FedAvg: num_clients is {self.num_clients} and fraction {self.fraction}; give one of them."
            )
        if self.num_rounds < 1:
            raise ConfigError(f"FedAvg: num_rounds is {self.num_rounds}; it must be 1 or more.")
        if self.task_timeout < 0:
            raise ConfigError(f"FedAvg: task_timeout is {self.task_timeout}; it must be 0 or more seconds.")

    def check(self, sites: Sequence[str]) -> None:
        """Check that the aggregator is installed; every engine that executes the workflow has the weighted mean."""
        if self.aggregator != WEIGHTED:
            try:
                registry().aggregator(self.aggregator)
            except PluginError as error:
                raise ConfigError(f"FedAvg: aggregator: {error}") from None

    def planned_rounds(self) -> int:
        """Return the number of rounds."""
        return self.num_rounds

    def clients_per_round(self, sites: int) -> int:
        """Return how many sites take part in a round, of the given number of living sites."""
        if self.fraction is not None:
            return max(1, round(self.fraction * sites))
        return sites if self.num_clients is None else min(self.num_clients, sites)
