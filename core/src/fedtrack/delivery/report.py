"""ReceiverTally: the result of delivery to one receiver."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.ledger import Ledger
from fedtrack.journal.journal import Journal


class ReceiverTally(msgspec.Struct):
    """The counts of one receiver's events; keys are only ever added.

    ``addressed = delivered + skipped_total + dead + pending + lost``, also after restarts, refusals and retries.

    Attributes:
        receiver: Its registered name.
        node: ``server``, or the site that hosts it.
        delivered: Events that it took and flushed.
        skipped: Events of kinds that it does not support, by kind.
        dead: Events that it refused for good, with the reasons in the ledger.
        pending: Events that it has not taken yet; they are in the journal.
        error: The last error that is still unresolved, or "".
        location: Where the records are, once the receiver has opened its backend.
        command: The command that shows them.
        outage_seconds: The length of all outages of its backend that are over.
        outage: The backend's last error message in an outage that is over.
        id: The component's id in the job.
        skipped_total: Events of kinds that it does not support; None in a summary of an older version.
        addressed: Events in the journal of the sites that it listens to; None if that is not known.
        own_only: Whether it listens to the server's own events only.
        lost: Events that were damaged in the journal before it could take them, as far as that is known.
    """

    receiver: str
    node: str
    delivered: int = 0
    skipped: dict[str, int] = {}
    dead: int = 0
    pending: int = 0
    error: str = ""
    location: str = ""
    command: str = ""
    outage_seconds: float = 0.0
    outage: str = ""
    id: str = ""
    skipped_total: int | None = None
    addressed: int | None = None
    own_only: bool = False
    lost: int = 0

    @property
    def label(self) -> str:
        """The receiver's name for people."""
        return receiver_label(self.node, self.id)

    @property
    def not_supported(self) -> int:
        """How many events it skipped, in all."""
        return sum(self.skipped.values()) if self.skipped_total is None else self.skipped_total

    @property
    def seen(self) -> int:
        """The sum of all these events."""
        return self.delivered + self.not_supported + self.dead + self.pending + self.lost


def count_receiver(
    receiver: ReceiverTally, journal: Journal, ledger: Ledger, listens: Callable[[str], bool] = lambda site: True
) -> ReceiverTally:
    """Return a receiver with its counts from the files, also while they are written.

    Args:
        receiver: Its other facts; its id is the name of its cursor.
        journal: The journal of its node.
        ledger: The ledger of that journal.
        listens: Whether the receiver listens to the events of a site.
    """
    cursor = ledger.cursor(receiver.id)  # read first: events that arrive meanwhile count as pending
    rows = journal.counts()
    return msgspec.structs.replace(
        receiver,
        delivered=cursor.delivered,
        skipped=ledger.skipped(receiver.id),
        skipped_total=cursor.skipped,
        dead=cursor.dead,
        pending=journal.events_after(cursor.batch, listens),
        lost=sum(count for site, count in ledger.lost_up_to(cursor.batch).items() if listens(site)),
        addressed=sum(count for site, count in rows.items() if listens(site)),
    )
