"""DeliveryReport: what became of one receiver's share of the events."""

from __future__ import annotations

from dataclasses import dataclass

from fedtrack.tracking.receiver import Results


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of one receiver's share of the events.

    Attributes:
        name: The receiver component's id in the job.
        receiver: The receiver's registered name.
        delivered: Events the receiver took and flushed.
        skipped: Events of kinds that it does not support, by kind.
        dead: Events it refused for good; they are kept in the journal.
        pending: Events it has not taken yet; they are in the journal.
        error: The last error that is still unresolved, or "".
        results: Where the records are, if the receiver got as far as opening its backend.
        outage_seconds: For how long in all the backend took nothing, and then worked again.
        outage: What it said then, at the last time.
    """

    name: str
    receiver: str
    delivered: int
    skipped: dict[str, int]
    dead: int
    pending: int
    error: str
    results: Results | None
    outage_seconds: float = 0.0
    outage: str = ""
