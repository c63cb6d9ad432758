"""Server: what a strategy does, as metrics: the aggregates, and each node's seconds, bytes and failures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from time import time
from typing import Any, TypeVar

from flwr.app import ArrayRecord, Context, Message, MetricRecord

from fedtrack import ConnectedRun
from fedtrack_flower import old_strategy
from fedtrack_flower.client import metrics_of
from fedtrack_flower.runs import connected

log = logging.getLogger(__name__)

#: The name of the server app as a site of the run.
SERVER_SITE = "serverapp"

S = TypeVar("S")


def track(strategy: S, context: Context) -> S:
    """Let a strategy log what it does, and return it.

    Logged with the round, counted from 1 as Flower does:

    * ``train/<metric>`` and ``evaluate/<metric>``: the aggregated metrics;
    * ``train/asked``, ``train/answered``, ``train/failed``, the same for evaluate: numbers of nodes;
    * ``train/node/<id>/seconds``: from the request to the reply, by the clocks of server and node;
    * ``train/node/<id>/bytes``: the size of the parameters in the reply.

    Args:
        strategy: A strategy of ``flwr.serverapp.strategy``, or of the earlier ``flwr.server.strategy``; any object with
            the methods of one of them. Of an earlier one the seconds are not known.
        context: The server app's context.
    """
    run = connected(context.run_id, context.run_config, SERVER_SITE)
    if run is None:
        return strategy
    if hasattr(strategy, "configure_train") and hasattr(strategy, "aggregate_train"):
        for kind in ("train", "evaluate"):
            _Phase(run, kind).wrap(strategy)
    elif old_strategy.is_old(strategy):
        old_strategy.wrap(strategy, run)
    else:  # tracking never ends a federation
        log.error("%s has not the methods of a strategy of Flower, and is not tracked", type(strategy).__name__)
    return strategy


class _Phase:
    """Training or evaluation of one strategy."""

    def __init__(self, run: ConnectedRun, kind: str) -> None:
        self._run = run
        self._kind = kind
        self._asked_at: dict[int, float] = {}

    def wrap(self, strategy: Any) -> None:
        """Put the strategy's two methods for this phase behind those of this object."""
        # On the object and not in a subclass: a strategy may override `start`, and wrap another one.
        configure = getattr(strategy, f"configure_{self._kind}")
        aggregate = getattr(strategy, f"aggregate_{self._kind}")
        setattr(strategy, f"configure_{self._kind}", self._configuring(configure))
        setattr(strategy, f"aggregate_{self._kind}", self._aggregating(aggregate))

    def _configuring(self, configure: Callable[..., Iterable[Message]]) -> Callable[..., Iterable[Message]]:
        @wraps(configure)
        def wrapped(server_round: int, *args: Any, **kwargs: Any) -> Iterable[Message]:
            self._run.round(server_round)
            messages = list(configure(server_round, *args, **kwargs))
            self._asked_at = {message.metadata.dst_node_id: time() for message in messages}
            return messages

        return wrapped

    def _aggregating(self, aggregate: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(aggregate)
        def wrapped(server_round: int, replies: Iterable[Message], *args: Any, **kwargs: Any) -> Any:
            answers = list(replies)
            self._log(server_round, self._counts(answers))
            found = aggregate(server_round, answers, *args, **kwargs)
            self._log(server_round, _aggregated(found))
            return found

        return wrapped

    def _counts(self, answers: list[Message]) -> dict[str, float]:
        failed = sum(answer.has_error() for answer in answers)
        found = {"asked": len(self._asked_at), "answered": len(answers) - failed, "failed": failed}
        for answer in answers:
            node = answer.metadata.src_node_id
            begun = self._asked_at.get(node)
            if answer.has_error() or begun is None:
                continue
            found[f"node/{node}/seconds"] = max(0.0, answer.metadata.created_at - begun)  # the clocks may differ
            found[f"node/{node}/bytes"] = _bytes_of(answer)
        return found

    def _log(self, server_round: int, metrics: Mapping[str, float]) -> None:
        if metrics:
            self._run.log({f"{self._kind}/{name}": value for name, value in metrics.items()}, step=server_round)


def _aggregated(found: Any) -> dict[str, float]:
    """Return the aggregated metrics: of training beside the parameters, of evaluation alone."""
    record = found[1] if isinstance(found, tuple) and len(found) == 2 else found
    if not isinstance(record, MetricRecord):
        return {}
    return {name: float(value) for name, value in record.items() if isinstance(value, int | float)}


def _bytes_of(answer: Message) -> int:
    records = answer.content.values() if answer.has_content() else ()
    return sum(record.count_bytes() for record in records if isinstance(record, ArrayRecord))


__all__ = ["SERVER_SITE", "metrics_of", "track"]
