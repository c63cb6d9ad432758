"""JournalFacts: what one journal says of a run's events, read in one place and without changing it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from fedtrack.journal.journal import Cursor, Journal, StoredBatch
from fedtrack.spool import frames
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import GAP_KIND, REJECTED_KIND, Gap, decode

_MAY_COUNT = frames.kinds_pattern((REJECTED_KIND, GAP_KIND))


class StreamFacts(NamedTuple):
    """One stream, or the part of one that is in one place.

    Attributes:
        events: Log calls that became a record there.
        counts: Log calls that became none, or one that says so; None if that is not known.
        reports: Records that say how many calls were dropped. They are no events.
        at_least: Whether the process may have dropped more: reports are written at 1, 2, 4, ... calls, and when there
            is room again.
    """

    events: int = 0
    counts: Counts | None = Counts()
    reports: int = 0
    at_least: bool = False


class LostRange(NamedTuple):
    """Events that were lost, as the journal has it.

    Attributes:
        site: Whose they were.
        stream: In which stream; "" if that is not known.
        reason: What happened.
        events: How many they were; None if that is not known.
        journaled: Whether they had been in the journal, and are counted there.
    """

    site: str
    stream: str
    reason: str
    events: int | None = None
    journaled: bool = False


class ReceiverFacts(NamedTuple):
    """How far a receiver is, and how many events of each site wait for it."""

    cursor: Cursor
    pending: Mapping[str, int]


@dataclass(frozen=True)
class JournalFacts:
    """What a journal says.

    Attributes:
        streams: By site and stream.
        lost: What is missing, oldest first.
        receivers: By component id.
    """

    streams: dict[str, dict[str, StreamFacts]] = field(default_factory=dict)
    lost: list[LostRange] = field(default_factory=list)
    receivers: dict[str, ReceiverFacts] = field(default_factory=dict)

    def events(self) -> dict[str, int]:
        """Return how many events of each site are in the journal."""
        return {site: sum(one.events for one in streams.values()) for site, streams in self.streams.items()}


def read_facts(journal: Journal) -> JournalFacts:
    """Return what a journal says; of one that is being written, each part as it was when it was read.

    Every question of the tally to a journal is asked here. Cursors first: what is stored meanwhile is pending then.
    """
    cursors = journal.cursors()
    seen: defaultdict[tuple[str, str], StreamFacts] = defaultdict(StreamFacts)
    passed: list[tuple[int, str, int]] = []
    for batch in journal.bodies():
        facts = facts_of(batch)
        seen[batch.site, batch.stream] = together(seen[batch.site, batch.stream], facts)
        passed.append((batch.id, batch.site, facts.events))
    found = JournalFacts()
    for site in journal.counts():
        found.streams[site] = {
            # What was pruned is counted with its stream only.
            stream: seen[site, stream]._replace(events=count - seen[site, stream].reports)
            for stream, count in journal.counts_of(site).items()
            if count
        }
    found.lost.extend(LostRange(site, stream, reason) for site, stream, _, reason in journal.gaps())
    for id_, cursor in cursors.items():
        pending: Counter[str] = Counter()
        for batch_id, site, events in passed:
            if batch_id > cursor.batch:
                pending[site] += events
        found.receivers[id_] = ReceiverFacts(cursor, pending)
    return found


def facts_of(batch: StoredBatch) -> StreamFacts:
    """Return what a batch holds; most of them hold events only, and are not looked at frame by frame."""
    if not _MAY_COUNT.search(batch.body):
        return StreamFacts(batch.count)
    rejected = dropped = reports = 0
    # Not split(): the body may have been changed on the disk.
    scan = frames.scan(batch.body, frames.salt_of(batch.stream), previous=0, after_seq=0, final=True)
    for part in scan.parts:
        for _, payload in frames.split(part.body) if isinstance(part, frames.FrameRange) else ():
            if len(payload) > 1 and payload[1] == REJECTED_KIND:
                rejected += 1
            elif len(payload) > 1 and payload[1] == GAP_KIND:
                reports += 1
                dropped += _count_in(payload)
    return StreamFacts(batch.count - reports, Counts(dropped, 0, rejected), reports, at_least=bool(reports))


def _count_in(payload: memoryview) -> int:
    try:
        record = decode(payload)
    except msgspec.DecodeError:
        return 0
    return record.count if isinstance(record, Gap) else 0


def together(first: StreamFacts, second: StreamFacts) -> StreamFacts:
    """Return what two parts of a stream hold together."""
    counts = add_counts((first.counts, second.counts))
    return StreamFacts(
        first.events + second.events, counts, first.reports + second.reports, first.at_least or second.at_least
    )


def add_counts(parts: Iterable[Counts | None]) -> Counts | None:
    """Return the sum; None if a part is not known."""
    known = list(parts)
    if any(part is None for part in known):
        return None
    return Counts(*(sum(column) for column in zip(Counts(), *(part for part in known if part), strict=True)))
