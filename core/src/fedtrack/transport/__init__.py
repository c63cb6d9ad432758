"""Transport: a site's spool is sent to a journal, over the same disk or over a channel of messages and answers.

The forwarder is the transport of one machine. Shipper and intake are the two ends of every other transport, and wire
has their messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.transport.forwarder import Forwarder
    from fedtrack.transport.guard import Guard
    from fedtrack.transport.intake import Intake
    from fedtrack.transport.shipper import SpoolShipper
    from fedtrack.transport.spool_source import SpoolSource
    from fedtrack.transport.wire import PAYLOAD, TOPIC, Ack, Bye, FromSite, decode_ack, encode

_HOMES = {
    "Ack": "fedtrack.transport.wire",
    "Bye": "fedtrack.transport.wire",
    "Forwarder": "fedtrack.transport.forwarder",
    "FromSite": "fedtrack.transport.wire",
    "Guard": "fedtrack.transport.guard",
    "Intake": "fedtrack.transport.intake",
    "PAYLOAD": "fedtrack.transport.wire",
    "SpoolShipper": "fedtrack.transport.shipper",
    "SpoolSource": "fedtrack.transport.spool_source",
    "TOPIC": "fedtrack.transport.wire",
    "decode_ack": "fedtrack.transport.wire",
    "encode": "fedtrack.transport.wire",
}

__all__ = [
    "PAYLOAD",
    "TOPIC",
    "Ack",
    "Bye",
    "Forwarder",
    "FromSite",
    "Guard",
    "Intake",
    "SpoolShipper",
    "SpoolSource",
    "decode_ack",
    "encode",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
