"""An event: a record on its way from where it was logged to a receiver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedtrack.tracking.records import Record

#: Name of the event where it was logged (FLARE's ``ANALYTIC_EVENT_TYPE``).
LOCAL_EVENT = "analytix_log_stats"

#: Name of the same event once it has crossed to the server.
FED_EVENT = "fed.analytix_log_stats"

#: The site name under which the server logs its own records.
SERVER = "server"


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one stream of one site, in the order in which they were logged.

    Attributes:
        site: The site's name, taken from the channel and never from what the site wrote.
        stream: 32 hex digits, one stream per incarnation of a process.
        first: Sequence number of ``records[0]`` in the stream; the same records always carry the same
            numbers, so ``(stream, first)`` identifies a redelivery.
        records: The records, oldest first; only kinds that the receiver supports.
    """

    site: str
    stream: str
    first: int
    records: Sequence[Record]
