"""Delivery: each receiver is fed from a journal, with retries and dead letters, and without giving up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.delivery.delivery import OPENING_PATIENCE
    from fedtrack.delivery.host import STALL_SECONDS, ReceiverHost
    from fedtrack.delivery.report import DeliveryReport

_HOMES = {
    "DeliveryReport": "fedtrack.delivery.report",
    "OPENING_PATIENCE": "fedtrack.delivery.delivery",
    "ReceiverHost": "fedtrack.delivery.host",
    "STALL_SECONDS": "fedtrack.delivery.host",
}

__all__ = [
    "OPENING_PATIENCE",
    "STALL_SECONDS",
    "DeliveryReport",
    "ReceiverHost",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
