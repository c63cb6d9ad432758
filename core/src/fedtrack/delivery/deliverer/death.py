"""Blame: which receivers of a process that died get a process of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic

from fedtrack.delivery.calls import Call
from fedtrack.delivery.deliverer.evidence import Death
from fedtrack.delivery.deliverer.standing import Standing
from fedtrack.delivery.deliverer.worker import Worker
from fedtrack.delivery.ledger import Cursor


def blame(death: Death, worker: Worker, left: Sequence[Standing], cursors: Mapping[str, Cursor]) -> list[Standing]:
    """Add a death to the evidence, and return the receivers that get a process of their own.

    These are the ones whose call was in flight. If none was, a thread of a receiver may have ended the process, so all
    of them are separated. Evidence is added only if no other receiver can be to blame.

    Args:
        death: The death.
        worker: The process that died.
        left: The receivers that it served, without those that were closed.
        cursors: The progress of the receivers.
    """
    states = {item.id: item.calls() for item in left}
    preparing = worker.preparing()
    if preparing.call == Call.PREPARE and preparing.batch <= len(worker.ids):
        id_ = worker.ids[preparing.batch - 1]
        if id_ in states:
            states[id_] = preparing
    in_flight = [item for item in left if states[item.id].call != Call.NONE]
    only = left if len(worker.ids) == 1 else in_flight
    if death.proves and len(only) == 1:
        item = only[0]
        if item.evidence.add(death, states[item.id], cursors.get(item.id, Cursor()).batch):
            item.progressed = monotonic()
    return list(left) if death.proves and not in_flight else in_flight
