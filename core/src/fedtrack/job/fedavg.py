"""FedAvg: the job's description of federated averaging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from fedtrack.errors import ConfigError, PluginError
from fedtrack.job.values import Cap, Count, Round, Text, Timeout, check_cap, check_count, check_seconds, check_unique
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.normalise import shorten

#: Name of the aggregator that every engine has.
WEIGHTED = "weighted"

#: A share of the sites, for the schema.
FRACTION = msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 1})


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
        params: The tensors that a site must send: ``all``, any of them (``partial``), or a list of names and patterns
            such as ``lora_*``. A site may leave out all others. A tensor is averaged over the sites that sent it, and
            keeps its global value if no site did.
        max_weight: A site that claims more steps in a round counts as if it had claimed these; 0 means no cap. Without
            one, a site is refused that claims more than 100,000 steps and 1,000 times the median of the others.
        max_norm: The largest L2 norm of a site's update, the difference to the model that it was given. A longer
            update is shortened to it, as in Sun et al. 2019 (arXiv:1911.07963); 0 means no cap.
    """

    ignored: ClassVar[frozenset[str]] = frozenset({"persistor_id"})

    num_clients: Count | None = None
    fraction: Annotated[float, FRACTION] | None = None
    num_rounds: Count = 5
    start_round: Round = 0
    persistor_id: str = "persistor"
    task_timeout: Timeout = 0.0
    evaluate_final_model: bool = False
    seed: int = 0
    aggregator: Text = WEIGHTED
    params: Literal["all", "partial"] | list[str] = "all"
    max_weight: Cap = 0.0
    max_norm: Cap = 0.0

    def __post_init__(self) -> None:
        check_count("FedAvg: num_clients", self.num_clients)
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ConfigError(f"FedAvg: fraction is {self.fraction}; it must be greater than 0 and at most 1.")
        if self.fraction is not None and self.num_clients is not None:
            raise ConfigError(
                f"FedAvg: num_clients is {self.num_clients} and fraction {self.fraction}; give one of them."
            )
        check_count("FedAvg: num_rounds", self.num_rounds)
        check_count("FedAvg: start_round", self.start_round, least=0)
        check_seconds("FedAvg: task_timeout", self.task_timeout, zero=True)
        check_cap("FedAvg: max_weight", self.max_weight)
        check_cap("FedAvg: max_norm", self.max_norm)
        self._check_params()

    def check(self, sites: Sequence[str]) -> None:
        """Check that there are enough sites and that the aggregator is installed.

        Every engine that executes the workflow has the weighted mean.
        """
        if self.num_clients is not None and self.num_clients > len(sites):
            raise ConfigError(
                f"FedAvg: num_clients is {self.num_clients}, but the job has {len(sites)} sites; give at most "
                f"{len(sites)}, or leave it out for all."
            )
        if self.aggregator != WEIGHTED:
            try:
                registry().aggregator(self.aggregator)
            except PluginError as error:
                raise ConfigError(f"FedAvg: aggregator: {error}") from None

    def tasks(self) -> frozenset[str]:
        """Return the tasks that the sites are asked to do."""
        return frozenset({"train", "validate"} if self.evaluate_final_model else {"train"})

    def without_effect(self, sites: Sequence[str]) -> list[str]:
        """Return why arguments have no effect."""
        if self.seed != 0 and self.clients_per_round(len(sites)) == len(sites):
            return [f"seed is {self.seed}, but all {len(sites)} sites take part in each round and none is chosen"]
        return []

    def planned_rounds(self) -> int:
        """Return the number of rounds."""
        return self.num_rounds

    def needed_params(self) -> tuple[str, ...]:
        """Return the names and patterns of the tensors that a site must send; ``("*",)`` means all."""
        if isinstance(self.params, list):
            return tuple(self.params)
        return ("*",) if self.params == "all" else ()

    def _check_params(self) -> None:
        if isinstance(self.params, str):
            if self.params not in ("all", "partial"):
                raise ConfigError(f"FedAvg: params is {shorten(self.params)}; valid are 'all', 'partial' and a list.")
        else:
            check_unique("FedAvg: params", self.params, "tensors or patterns such as 'lora_*'")
            if "" in self.params:
                raise ConfigError("FedAvg: params has an empty name; name tensors, or patterns such as 'lora_*'.")
        if self.params != "all" and self.aggregator != WEIGHTED:
            raise ConfigError(
                f"FedAvg: params is {self.params!r} and aggregator {self.aggregator!r}; only {WEIGHTED!r} averages "
                "models that lack tensors."
            )

    def clients_per_round(self, sites: int) -> int:
        """Return how many sites take part in a round, of the given number of living sites."""
        if self.fraction is not None:
            return max(1, round(self.fraction * sites))
        return sites if self.num_clients is None else min(self.num_clients, sites)
