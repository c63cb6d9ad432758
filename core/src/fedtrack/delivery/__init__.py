"""Delivery: each receiver is fed from a journal, with retries and dead letters, and without giving up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.delivery.deliverer.supervisor import Supervisor
    from fedtrack.delivery.delivery import OPENING_PATIENCE
    from fedtrack.delivery.host import STALL_SECONDS, ReceiverHost
    from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
    from fedtrack.delivery.report import ReceiverTally

_HOMES = {
    "LEDGER_FILE": "fedtrack.delivery.ledger",
    "Ledger": "fedtrack.delivery.ledger",
    "OPENING_PATIENCE": "fedtrack.delivery.delivery",
    "ReceiverHost": "fedtrack.delivery.host",
    "ReceiverTally": "fedtrack.delivery.report",
    "STALL_SECONDS": "fedtrack.delivery.host",
    "Supervisor": "fedtrack.delivery.deliverer.supervisor",
}

__all__ = [
    "LEDGER_FILE",
    "OPENING_PATIENCE",
    "STALL_SECONDS",
    "Ledger",
    "ReceiverHost",
    "ReceiverTally",
    "Supervisor",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
