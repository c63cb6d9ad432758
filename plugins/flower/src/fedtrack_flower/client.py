"""Client: the mod of a client app, which lets the node's own code log while it trains."""

from __future__ import annotations

from typing import Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord

from fedtrack import ConnectedRun
from fedtrack_flower.runs import connected, name_of_node

#: Flower's strategies put the round into the message, counted from 1.
ROUND_KEY = "server-round"
#: Where a client of the earlier API (``NumPyClient``) has its own metrics.
_OLD_METRICS = ("fitres.metrics", "evaluateres.metrics")


def fedtrack_mod(message: Message, context: Context, call_next: Any) -> Message:
    """Bind fedtrack's writers to the node while it handles a message, and log the metrics of its reply.

    The round of what is logged is Flower's, counted from 1. A reply's metrics are logged as ``train/<name>`` or
    ``evaluate/<name>``, with the round as their step.

    Args:
        message: The message of the server app.
        context: The node's context.
        call_next: The next mod, or the app itself.

    Returns:
        The app's reply, unchanged.
    """
    run = connected(context.run_id, context.run_config, name_of_node(context.node_id, context.node_config))
    if run is None:
        return call_next(message, context)
    number = round_of(message)
    run.round(number)
    with run.bound():
        reply = call_next(message, context)
    _log_metrics(run, message.metadata.message_type.split(".")[0], reply, number)
    return reply


def round_of(message: Message) -> int | None:
    """Return the round that a message belongs to, counted from 1; None if it does not say."""
    for record in message.content.values() if message.has_content() else ():
        if isinstance(record, ConfigRecord):
            number = record.get(ROUND_KEY)
            if type(number) is int and number >= 0:
                return number
    group = message.metadata.group_id  # where the earlier strategies have it
    return int(group) if group.isdecimal() else None


def metrics_of(reply: Message) -> dict[str, float]:
    """Return the numbers in a reply's metric records; a list is its items, ``<name>/0`` first."""
    found: dict[str, float] = {}
    for place, record in reply.content.items() if reply.has_content() else ():
        if not (isinstance(record, MetricRecord) or place in _OLD_METRICS):
            continue
        for name, value in record.items():
            if any(isinstance(one, str | bytes) for one in (value if isinstance(value, list) else [value])):
                continue
            if isinstance(value, list):
                found |= {f"{name}/{index}": float(item) for index, item in enumerate(value)}
            else:
                found[name] = float(value)
    return found


def _log_metrics(run: ConnectedRun, kind: str, reply: Message, number: int | None) -> None:
    metrics = {f"{kind}/{name}": value for name, value in metrics_of(reply).items()}
    if metrics:
        run.log(metrics, step=number)
