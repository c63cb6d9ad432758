"""FedAvg: rounds of local training, averaged with the number of local steps as weight.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, algorithm 1;
names and weights as FLARE's ``nvflare.app_common.workflows.fedavg.FedAvg``.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from fedtrack.errors import ConfigError, JobError, ModelError
from fedtrack.federated.aggregator import WeightedAggregator, weight_of, weighted_metrics
from fedtrack.federated.fl_model import FLModel, ParamsType
from fedtrack.federated.workflow import TRAIN, VALIDATE, Answer, GroupAnswer, RoundResult, Server, Task, Workflow

log = logging.getLogger(__name__)


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
        started = perf_counter()
        server.notify("fedtrack_round_started", current_round=current_round)
        sites = self._sample(server.sites(), current_round)
        task = self._task(TRAIN, params, current_round)
        average = _RoundAverage(server, params, sites)
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


class _RoundAverage:
    """Averages answers in the order of ``sites``, whatever the order in which they arrive.

    Floating-point sums depend on their order: the same job must give the same numbers twice. Answers that are early
    wait on disk, so memory stays that of one model.
    """

    def __init__(self, server: Server, params: Mapping[str, Any] | None, sites: Sequence[str]) -> None:
        self._server = server
        self._aggregator = WeightedAggregator(params) if params is not None else None
        self._waiting = deque(sites)
        self._answers: dict[str, Answer | GroupAnswer] = {}
        self._scored: list[tuple[float, Mapping[str, float]]] = []
        self._used: list[str] = []
        self.total_weight = 0.0
        self.size = 0

    def add(self, answer: Answer | GroupAnswer) -> None:
        """Take an answer; it is averaged as soon as all sites before it are."""
        self._answers |= dict.fromkeys(answer.sites, answer)
        self.size += answer.size
        while self._waiting and self._waiting[0] in self._answers:
            self._accept_next()

    def close(self) -> tuple[Mapping[str, Any], dict[str, float], tuple[str, ...]]:
        """Return the average, the weighted metrics and the sites that went in.

        Raises:
            JobError: No site sent a usable result.
        """
        while self._waiting:
            self._accept_next()
        if self._aggregator is None or not self._used:
            raise JobError("No site sent a usable result in this round; see the messages above.")
        return self._aggregator.result(), weighted_metrics(self._scored), tuple(self._used)

    def _accept_next(self) -> None:
        """Average the answer of the next site, if it has one."""
        site = self._waiting[0]
        answer = self._answers.get(site)
        for answered in answer.sites if answer is not None else (site,):  # a group follows each other in the order
            self._waiting.popleft()
            self._answers.pop(answered, None)
        if isinstance(answer, GroupAnswer):
            self._accept_group(answer)
        elif answer is not None:
            self._accept(answer)

    def _accept(self, answer: Answer) -> None:
        model = answer.model
        try:
            weight = weight_of(model.meta)
            if model.params is None:
                raise ModelError("the result of a train task has no params; send FLModel(params=...)")
            if self._aggregator is None:
                self._aggregator = WeightedAggregator(model.params)
            self._aggregator.accept(answer.site, model.params, model.params_type or ParamsType.FULL, weight)
        except ModelError as error:
            self._server.reject(answer.site, error)
            return
        light = FLModel(metrics=model.metrics, meta=model.meta, current_round=model.current_round)
        self._count(answer.site, light, weight)

    def _accept_group(self, answer: GroupAnswer) -> None:
        if answer.partial is None:
            return  # every site of the group has failed
        if self._aggregator is None:
            raise JobError("Sites that are averaged in groups need an initial model; give one to the job.")
        self._aggregator.merge(answer.partial, f"the group of {answer.sites[0]}")
        for site, model in answer.models.items():
            self._count(site, model, weight_of(model.meta))

    def _count(self, site: str, model: FLModel, weight: float) -> None:
        self._used.append(site)
        self.total_weight += weight
        self._scored.append((weight, model.metrics or {}))
        self._server.notify("fedtrack_result_received", site=site, model=model)


def _size(params: Mapping[str, Any] | None) -> int:
    return sum(int(array.nbytes) for array in params.values()) if params else 0
