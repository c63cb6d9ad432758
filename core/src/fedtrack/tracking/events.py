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
    """Records of one stream of one site, in the order in which they were logged.

    Attributes:
        site: The site's name, taken from the channel and never from what the site wrote.
        stream: 32 hex digits, one stream per incarnation of a process.
        seqs: The records' sequence numbers in the stream, ascending. A number is missing if its record was lost
            or refused, or is of a kind that the receiver does not support. The same record always carries the
            same number, so ``(stream, seq)`` tells a redelivery from a new record, also after a restart.
        records: The records, oldest first, one for each of ``seqs``; only kinds that the receiver supports.
    """

    site: str
    stream: str
    seqs: Sequence[int]
    records: Sequence[Record]
