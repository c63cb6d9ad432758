"""Gap: a loss that is recorded in a journal, with its kind, its count and its range."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from time import time_ns

from fedtrack.journal.database import Database


class GapKind(StrEnum):
    """The kinds of losses."""

    #: Bytes of a spool that are not a frame.
    DAMAGED = "damaged"
    #: Numbers of a stream that are in no spool and not in the journal.
    MISSING = "missing"
    #: A record whose site is not a site of the job.
    REFUSED = "refused"
    #: A batch of the journal that was changed on the disk after it was written.
    CHANGED = "changed"
    #: The journal itself was removed.
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class StoredGap:
    """A permanent loss of events.

    Two losses are the same one if all fields except the count are equal.

    Attributes:
        site: The site whose events were lost.
        stream: The stream's id, or "" if the loss is not in one stream.
        kind: One of ``GapKind``; a newer version may have written another one.
        reason: The cause, as a text for people.
        count: How many events were lost; None if that is not known.
        first: Number of the first lost event; None if that is not known.
        last: Number of the last lost event; None if that is not known.
        size: How many bytes were lost.
    """

    site: str
    stream: str
    kind: str
    reason: str
    count: int | None = None
    first: int | None = None
    last: int | None = None
    size: int = 0


def record(database: Database, gap: StoredGap) -> None:
    """Store a loss, unless it is known already.

    Raises:
        WorkspaceError: The loss was not stored: the disk is full or fails.
    """
    row = (gap.site, gap.stream, gap.kind, gap.reason, gap.count, gap.first, gap.last, gap.size, time_ns())
    with database.transaction() as writer:
        writer.execute(
            "INSERT INTO gap (site, stream, kind, reason, count, first, last, bytes, recv_ns) "
            "VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            row,
        )
