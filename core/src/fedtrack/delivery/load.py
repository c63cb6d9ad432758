"""Load: the events of one read of the journal for a receiver, and their results so far."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec

from fedtrack.delivery.ledger import DeadLetter
from fedtrack.delivery.retry import UNKNOWN_ERROR_ATTEMPTS, TriedOften
from fedtrack.delivery.suspect import NO_PRECAUTIONS, Precautions
from fedtrack.errors import Permanent
from fedtrack.journal.journal import StoredBatch
from fedtrack.tracking.events import Batch
from fedtrack.tracking.records import Record, decode, kind_of

log = logging.getLogger(__name__)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event on its way to a receiver.

    It has no fields that the garbage collector tracks. Thousands of tracked objects make the collector run more often,
    and with an SDK imported each run takes as long as a thousand points.
    """

    batch: int
    seq: int
    record: Record
    payload: bytes


class Part(NamedTuple):
    """Events of one stream for one call of the receiver, and how often an unknown error may occur with them."""

    site: str
    stream: str
    events: list[Event]
    attempts: int = UNKNOWN_ERROR_ATTEMPTS

    def batch(self) -> Batch:
        """Return the batch for the receiver."""
        return Batch(self.site, self.stream, [e.seq for e in self.events], [e.record for e in self.events])


class Load:
    """The events of one read of the journal for a receiver.

    Args:
        receiver: The receiver component's id.
        batches: The batches of the read, at least one.
        supports: The kinds that the receiver takes.
        listens: Whether it listens to the events of a site.
        max_records: The most events of one call.
        precautions: The events that a receiver cannot be given, or only a few at a time.

    Attributes:
        last: Id of the last batch.
        waiting: The events that are not handed over yet; a stack, the oldest on top.
        called: Whether the receiver was called.
        flushed: Whether the events that it took are safe.
        delivered: How many events it took.
        skipped: How many events it does not support, by kind.
        dead: The events that it refused for good.
        damaged: The batches with losses in the journal.
    """

    def __init__(
        self,
        receiver: str,
        batches: Sequence[StoredBatch],
        supports: Collection[type[Record]],
        listens: Callable[[str], bool],
        max_records: int,
        precautions: Precautions = NO_PRECAUTIONS,
    ) -> None:
        self.last = batches[-1].id
        self.called = self.flushed = False
        self.delivered = 0
        self.skipped: Counter[str] = Counter()
        self.dead: list[DeadLetter] = []
        self.damaged = [batch for batch in batches if batch.lost or batch.lost_bytes]
        self._receiver = receiver
        self._condemned = precautions.reasons()
        groups: dict[tuple[str, str], list[Event]] = {}
        for batch in batches:
            if listens(batch.site):
                self._sort(batch, supports, groups.setdefault((batch.site, batch.stream), []))
        self.waiting = [
            Part(site, stream, list(part))
            for (site, stream), events in reversed(groups.items())
            for part in reversed(precautions.cut(events, [(e.batch, e.seq) for e in events], max_records))
        ]

    def _sort(self, batch: StoredBatch, supports: Collection[type[Record]], group: list[Event]) -> None:
        """Add the events of a batch that the receiver takes to ``group``, and count the others."""
        seen = 0
        for seq, payload in batch.events():
            seen += 1
            try:
                record = decode(payload)
            except msgspec.DecodeError as error:
                reason = f"not a record that this version knows: {error}"
                self._bury(batch.site, batch.stream, seq, batch.id, reason, bytes(payload))
                continue
            if reason := self._condemned.get((batch.id, seq), ""):
                self._bury(batch.site, batch.stream, seq, batch.id, reason, bytes(payload))
            elif type(record) in supports:
                group.append(Event(batch.id, seq, record, bytes(payload)))
            else:
                self.skipped[kind_of(record)] += 1
        if batch.count > seen:
            self.skipped["gap"] += batch.count - seen  # the count of format 1 includes gap records

    def top(self, most: int) -> Part:
        """Return the events of the next call; if they are more than ``most``, the rest becomes a part of its own."""
        site, stream, events, attempts = self.waiting[-1]
        if len(events) > most:
            rest, first = Part(site, stream, events[most:], attempts), Part(site, stream, events[:most], attempts)
            self.waiting[-1:] = [rest, first]
        return self.waiting[-1]

    def took(self) -> None:
        """Note that the receiver took the part on top."""
        self.delivered += len(self.waiting.pop().events)

    def refused(self, error: Permanent) -> None:
        """Set aside the events of the top part that are known to be refused; the others are tried again in groups."""
        site, stream, events, attempts = self.waiting.pop()
        refused = {index for index in error.indices or () if 0 <= index < len(events)}
        if len(events) == 1:
            refused = {0}
        for index in sorted(refused):
            event = events[index]
            # The payload as it was logged: a newer version may have added fields that this one does not know.
            self._bury(site, stream, event.seq, event.batch, str(error), event.payload)
        # A part that has failed often enough as a whole is not tried as often again in each half.
        attempts = 1 if isinstance(error, TriedOften) else attempts
        if refused:
            rest = [event for index, event in enumerate(events) if index not in refused]
            parts = [rest] if rest else []
        else:
            middle = len(events) // 2
            parts = [events[:middle], events[middle:]]
        self.waiting += [Part(site, stream, part, attempts) for part in reversed(parts)]

    def _bury(self, site: str, stream: str, seq: int, batch: int, error: str, payload: bytes) -> None:
        self.dead.append(DeadLetter(self._receiver, site, stream, seq, batch, error, payload))
