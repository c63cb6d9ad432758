"""RoundAverage: the average of a round's answers, added in an order that does not depend on their arrival."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from fedtrack.client import FLModel, ParamsType
from fedtrack.errors import JobError, ModelError
from fedtrack.job import WEIGHTED
from fedtrack_local.averaging.aggregator import weight_of, weighted_metrics
from fedtrack_local.averaging.aggregators import make_aggregator
from fedtrack_local.averaging.result_limits import PLAUSIBLE, ResultLimits, check_claim
from fedtrack_local.averaging.round_remarks import RoundRemarks
from fedtrack_local.workflows.workflow import Answer, GroupAnswer, Server

log = logging.getLogger(__name__)


class RoundAverage:
    """Averages answers in the order of ``sites``, not in the order of their arrival.

    Floating-point sums depend on their order, and the same job must give the same numbers twice. Answers that arrive
    early wait on disk, so only one model is in memory.

    Args:
        server: Is told which answers were accepted and which were rejected.
        params: The model at the start of the round; None if every site begins with its own.
        sites: The sites that were asked, in the order in which their answers are added.
        aggregator: Name of the aggregator.
        needed: Names or patterns of the tensors that an answer must have.
        limits: The caps on each result.

    Attributes:
        total_weight: The sum of the weights of the answers that were added so far.
        size: Bytes of parameters that crossed from the sites so far.
    """

    def __init__(
        self,
        server: Server,
        params: Mapping[str, Any] | None,
        sites: Sequence[str],
        aggregator: str = WEIGHTED,
        needed: Sequence[str] = ("*",),
        limits: ResultLimits | None = None,
    ) -> None:
        self._server, self._reference = server, params
        self._kind, self._needed = aggregator, needed
        self._limits = limits or ResultLimits()
        self._aggregator = make_aggregator(aggregator, params, needed) if params is not None else None
        self._waiting = deque(sites)
        self._answers: dict[str, Answer | GroupAnswer] = {}
        #: Answers with a claim that can only be judged when those of all sites are known.
        self._doubted: list[Answer | GroupAnswer] = []
        self._claims: dict[str, float] = {}
        self._scored: list[tuple[float, Mapping[str, float]]] = []
        self._remarks = RoundRemarks()
        self._used: list[str] = []
        self.total_weight = 0.0
        self.size = 0

    def add(self, answer: Answer | GroupAnswer) -> None:
        """Take an answer; it is added to the average as soon as the answers of all sites before it are."""
        self._answers |= dict.fromkeys(answer.sites, answer)
        self.size += answer.size
        while self._waiting and self._waiting[0] in self._answers:
            self._accept_next()

    def close(self) -> tuple[Mapping[str, Any], dict[str, float], tuple[str, ...]]:
        """Return the average, the weighted metrics, and the sites whose answers are in them.

        Raises:
            JobError: No site sent a usable result.
        """
        while self._waiting:
            self._accept_next()
        self._accept_doubted()
        if self._aggregator is None or not self._used:
            raise JobError("No site sent a usable result in this round; see the messages above.")
        self._remarks.log()
        return self._aggregator.result(), weighted_metrics(self._scored), tuple(self._used)

    def _accept_next(self) -> None:
        """Average the answer of the next site, if it has one."""
        site = self._waiting[0]
        answer = self._answers.get(site)
        for answered in answer.sites if answer is not None else (site,):  # a group follows each other in the order
            self._waiting.popleft()
            self._answers.pop(answered, None)
        if answer is not None:
            claims = _claims_of(answer)
            self._claims |= claims
            if max(claims.values(), default=0.0) > PLAUSIBLE and not self._limits.max_weight:
                self._doubted.append(answer)
            else:
                self._take(answer)

    def _take(self, answer: Answer | GroupAnswer) -> None:
        if isinstance(answer, GroupAnswer):
            self._accept_group(answer)
        else:
            self._accept(answer)

    def _accept_doubted(self) -> None:
        """Average the answers with large claims, but for those that are not believed."""
        doubted, self._doubted = self._doubted, []
        for answer in doubted:
            false: dict[str, ModelError] = {}
            for site, weight in _claims_of(answer).items():
                try:
                    check_claim(site, weight, (self._claims[other] for other in self._claims if other != site))
                except ModelError as error:
                    false[site] = error
            if not false:
                self._take(answer)
            for site, reason in false.items():
                self._server.reject(site, reason)
            if false and isinstance(answer, GroupAnswer):
                log.warning("The results of the %d sites of its group are not averaged either.", len(answer.models) - 1)

    def _accept(self, answer: Answer) -> None:
        model = answer.model
        try:
            weight = self._limits.weight(weight_of(model.meta))
            if model.params is None:
                raise ModelError("the result of a train task has no params; send FLModel(params=...)")
            if self._aggregator is None:
                self._aggregator = make_aggregator(self._kind, model.params, self._needed)
            kind, reference = model.params_type or ParamsType.FULL, self._reference
            params, kind = self._limits.apply(answer.site, model.params, kind, reference or model.params)
            self._aggregator.accept(answer.site, params, kind, weight)
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
            self._count(site, model, self._limits.weight(weight_of(model.meta)))

    def _count(self, site: str, model: FLModel, weight: float) -> None:
        self._used.append(site)
        self.total_weight += weight
        self._scored.append((weight, model.metrics or {}))
        self._remarks.note(site, model)
        self._server.notify("fedtrack_result_received", site=site, model=model)


def _claims_of(answer: Answer | GroupAnswer) -> dict[str, float]:
    """Return the weights that sites claim; one that is no weight is refused when the answer is taken."""
    found: dict[str, float] = {}
    for site, model in answer.models.items():
        with contextlib.suppress(ModelError):
            found[site] = weight_of(model.meta)
    return found
