"""FedAvg: plays the rounds of federated averaging."""

from __future__ import annotations

import random
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from fedtrack.client.fl_model import FLModel
from fedtrack.job import fedavg as described
from fedtrack_local.workflows.workflow import TRAIN, VALIDATE, RoundResult, Server, Task


class FedAvg(described.FedAvg):
    """The workflow that ``fedtrack.job.FedAvg`` describes."""

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
        from fedtrack_local.averaging.round_average import RoundAverage  # needs numpy, which describing a job does not

        started = perf_counter()
        server.notify("fedtrack_round_started", current_round=current_round)
        sites = self._sample(server.sites(), current_round)
        task = self._task(TRAIN, params, current_round)
        average = RoundAverage(server, params, sites)
        for answer in server.ask(task, sites):
            average.add(answer)
        new_params, metrics, used = average.close()
        if params is not None and server.selector is not None and server.selector.observe(current_round, metrics):
            server.models.save_best(params, current_round, metrics)
        new_params = server.models.save(new_params, current_round)
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
        from fedtrack_local.averaging.aggregator import weight_of, weighted_metrics  # needs numpy

        total = self.start_round + self.num_rounds
        answers: dict[str, FLModel] = {}
        for answer in server.ask(self._task(VALIDATE, params, None), server.sites()):
            answers |= answer.models
        scored = [(weight_of(answers[site].meta), answers[site].metrics or {}) for site in sorted(answers)]
        server.final_metrics = weighted_metrics(scored)
        server.log_metrics(server.final_metrics, total)
        if params is not None and server.selector is not None and server.selector.observe(total, server.final_metrics):
            server.models.save_best(params, total, server.final_metrics)

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
