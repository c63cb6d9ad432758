"""FedAvg: rounds of local training, averaged with the number of local steps as weight.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, algorithm 1;
names and weights as FLARE's ``nvflare.app_common.workflows.fedavg.FedAvg``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from fedtrack.errors import ConfigError
from fedtrack.federated.fl_model import FLModel
from fedtrack.federated.workflow import TRAIN, VALIDATE, RoundResult, Server, Task, Workflow


class FedAvg(Workflow):
    """Federated averaging.

    Attributes:
        num_clients: How many sites take part in a round; all of them, if None.
        fraction: The same as a share of the sites that are alive, 0 < fraction <= 1; at least one takes part.
        num_rounds: How many rounds.
        start_round: Number of the first round.
        persistor_id: Accepted for jobs written for FLARE; a job has one persistor.
        task_timeout: Seconds within which a site must answer a task; 0 for no limit but ``idle_timeout``
            of the job.
        evaluate_final_model: Whether to ask the sites for the metrics of the model that the last round made.
        seed: Decides which sites take part, where not all do.
    """

    num_clients: int | None = None
    fraction: float | None = None
    num_rounds: int = 5
    start_round: int = 0
    persistor_id: str = "persistor"
    task_timeout: float = 0.0
    evaluate_final_model: bool = False
    seed: int = 0

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

    def clients_per_round(self, sites: int) -> int:
        """Return how many of as many living sites take part in a round."""
        if self.fraction is not None:
            return max(1, round(self.fraction * sites))
        return sites if self.num_clients is None else min(self.num_clients, sites)

    def execute(self, server: Server) -> None:
        """Run the rounds.

        Raises:
            JobError: Too few sites are left.
        """
        params = server.initial_params()
        first = max(self.start_round, server.next_round)
        for current_round in range(first, self.start_round + self.num_rounds):
            params = self._play_round(server, current_round, params)
        if self.evaluate_final_model:
            self._evaluate(server, params)

    def _play_round(self, server: Server, current_round: int, params: Mapping[str, Any] | None) -> Mapping[str, Any]:
        from fedtrack.federated.round_average import RoundAverage  # needs numpy, which describing a job does not

        started = perf_counter()
        server.notify("fedtrack_round_started", current_round=current_round)
        sites = self._sample(server.sites(), current_round)
        task = self._task(TRAIN, params, current_round)
        average = RoundAverage(server, params, sites)
        for answer in server.ask(task, sites):
            average.add(answer)
        new_params, metrics, used = average.close()
        if params is not None and server.selector is not None and server.selector.observe(current_round, metrics):
            server.persistor.save_best(params, current_round, metrics)
        new_params = server.persistor.save(new_params, current_round)
        result = RoundResult(
            current_round, metrics, used, perf_counter() - started, average.size + len(sites) * _size(params)
        )
        server.finish_round(result)
        server.log_metrics(
            metrics
            | {
                "round/seconds": result.seconds,
                "round/bytes": float(result.size),
                "round/sites": float(len(used)),
                "round/steps": average.total_weight,
            },
            current_round,
        )
        server.notify("fedtrack_round_ended", current_round=current_round, metrics=metrics)
        return new_params

    def _evaluate(self, server: Server, params: Mapping[str, Any] | None) -> None:
        from fedtrack.federated.aggregator import weight_of, weighted_metrics  # needs numpy

        total = self.start_round + self.num_rounds
        answers: dict[str, FLModel] = {}
        for answer in server.ask(self._task(VALIDATE, params, None), server.sites()):
            answers |= answer.models
        scored = [(weight_of(answers[site].meta), answers[site].metrics or {}) for site in sorted(answers)]
        server.final_metrics = weighted_metrics(scored)
        server.log_metrics(server.final_metrics, total)
        if params is not None and server.selector is not None and server.selector.observe(total, server.final_metrics):
            server.persistor.save_best(params, total, server.final_metrics)

    def _sample(self, sites: list[str], current_round: int) -> list[str]:
        wanted = self.clients_per_round(len(sites))
        if wanted == len(sites):
            return sites
        chosen = set(random.Random(f"{self.seed}/{current_round}").sample(sites, wanted))  # noqa: S311
        return [site for site in sites if site in chosen]

    def _task(self, name: str, params: Mapping[str, Any] | None, current_round: int | None) -> Task:
        total = self.start_round + self.num_rounds
        return Task(name, params, current_round, total, timeout=self.task_timeout)


def _size(params: Mapping[str, Any] | None) -> int:
    return sum(int(array.nbytes) for array in params.values()) if params else 0
