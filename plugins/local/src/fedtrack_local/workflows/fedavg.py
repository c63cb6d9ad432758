"""FedAvg: runs the rounds of federated averaging."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import fedtrack.job as described
from fedtrack.client import FLModel
from fedtrack_local.workflows.round import play_round
from fedtrack_local.workflows.workflow import TRAIN, VALIDATE, Server, Task


class FedAvg(described.FedAvg):
    """Federated averaging: rounds of local training, averaged with the number of local steps as weight."""

    def execute(self, server: Server) -> None:
        """Run the rounds.

        Raises:
            JobError: Too few sites are left.
        """
        params = server.initial_params()
        first = max(self.start_round, server.first_round)
        rounds = range(first, first + self.num_rounds)
        for current_round in range(max(first, server.next_round), rounds.stop):
            sites = self._sample(server.sites(), current_round)
            params, _ = play_round(server, self._task(TRAIN, params, current_round, rounds), sites)
        if self.evaluate_final_model:
            self._evaluate(server, params, rounds)

    def _evaluate(self, server: Server, params: Mapping[str, Any] | None, rounds: range) -> None:
        from fedtrack_local.averaging.aggregator import weight_of, weighted_metrics  # needs numpy

        total = rounds.stop
        answers: dict[str, FLModel] = {}
        for answer in server.ask(self._task(VALIDATE, params, None, rounds, total), server.sites()):
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

    def _task(
        self,
        name: str,
        params: Mapping[str, Any] | None,
        current_round: int | None,
        rounds: range,
        step: int | None = None,
    ) -> Task:
        return Task(
            name,
            params,
            current_round,
            rounds.stop,
            timeout=self.task_timeout,
            aggregator=self.aggregator,
            start_round=rounds.start,
            needed=self.needed_params(),
            max_weight=self.max_weight,
            max_norm=self.max_norm,
            step=step,
        )
