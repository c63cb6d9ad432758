"""ReceiverCounts and DeliveryReport: what became of one receiver's share of the events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fedtrack.delivery.ledger import Ledger
from fedtrack.journal.journal import Journal
from fedtrack.tracking.receiver import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverCounts:
    """A receiver's share of the events, counted.

    Together they are the events that the journal has, or had before they were pruned, of the sites that the receiver
    listens to; gap records and control records are no events.

    Attributes:
        delivered: Events the receiver took and flushed.
        skipped: Events of kinds that it does not support, by kind.
        dead: Events it refused for good; they are kept beside the journal.
        pending: Events it has not taken yet; they are in the journal.
        lost: Events that were damaged in the journal before it could take them.
    """

    delivered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    dead: int = 0
    pending: int = 0
    lost: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.delivered + sum(self.skipped.values()) + self.dead + self.pending + self.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport(ReceiverCounts):
    """A receiver's counts, and what its delivery has to say.

    Attributes:
        name: The receiver component's id in the job.
        receiver: The receiver's registered name.
        error: The last error that is still unresolved, or "".
        results: Where the records are, if the receiver got as far as opening its backend.
        outage_seconds: For how long in all the backend took nothing, and then worked again.
        outage: What it said then, at the last time.
    """

    name: str
    receiver: str
    error: str = ""
    results: Results | None = None
    outage_seconds: float = 0.0
    outage: str = ""


def count_receiver(
    journal: Journal, ledger: Ledger, name: str, listens: Callable[[str], bool] = lambda site: True
) -> ReceiverCounts:
    """Count a receiver's share of the events as the files have it.

    Args:
        journal: What is delivered from.
        ledger: The journal's.
        name: The receiver component's id.
        listens: Whether the receiver listens to the events of a site.
    """
    cursor = ledger.cursor(name)
    return ReceiverCounts(
        delivered=cursor.delivered,
        skipped=ledger.skipped(name),
        dead=cursor.dead,
        pending=journal.events_after(cursor.batch, listens),
        lost=sum(count for site, count in ledger.lost_up_to(cursor.batch).items() if listens(site)),
    )
