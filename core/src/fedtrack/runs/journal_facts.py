"""JournalFacts: a run's log calls, as one journal records them; read in one place and without changing it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from fedtrack.delivery.ledger import Ledger
from fedtrack.journal.journal import GapKind, Journal, StoredBatch, StoredStream
from fedtrack.spool import frames
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import GAP_KIND, REJECTED_KIND, WITHHELD_KIND, Gap, Withheld, decode, number_of

_MAY_COUNT = frames.kinds_pattern((REJECTED_KIND, GAP_KIND, WITHHELD_KIND))


class StreamFacts(NamedTuple):
    """One stream, or the part of one that is in one place.

    Attributes:
        events: Log calls that became an event.
        counts: Log calls that were dropped, withheld or rejected; None if they are not known.
        reports: Records with a number of dropped calls, among those that were read; they are not events.
        inferred: Whether the counts come from the records, because those of the stream's page are missing. A process
            may have dropped more calls than it reported: it reports at 1, 2, 4, ... calls, and when it has room again.
    """

    events: int = 0
    counts: Counts | None = Counts()
    reports: int = 0
    inferred: bool = False


class LostRange(NamedTuple):
    """Events that were lost, as recorded in the journal or its ledger.

    Attributes:
        site: The site.
        stream: The stream's id; "" if it is not known.
        reason: The cause, as a text for people.
        events: The number of events; None if it is not known.
        journaled: Whether they had been in the journal, and are counted there.
    """

    site: str
    stream: str
    reason: str
    events: int | None = None
    journaled: bool = False


@dataclass(frozen=True)
class JournalFacts:
    """The content of a journal, as counts.

    Attributes:
        streams: By site and stream. Processes that work for many sites are also here, with counts and without events.
        lost: The losses that the journal recorded, then those that deliveries found in it.
    """

    streams: dict[str, dict[str, StreamFacts]] = field(default_factory=dict)
    lost: list[LostRange] = field(default_factory=list)

    def events(self) -> dict[str, int]:
        """Return how many events of each site are in the journal."""
        found = {site: sum(one.events for one in streams.values()) for site, streams in self.streams.items()}
        return {site: count for site, count in found.items() if count}


def read_facts(journal: Journal, ledger: Ledger) -> JournalFacts:
    """Return the facts of a journal. If it is being written, its parts are read one after the other."""
    found = JournalFacts()
    rows = journal.streams()
    hosts = {row.stream: row for row in rows if is_host(row.site)}
    unsaid = {(row.site, row.stream) for row in rows if _is_unsaid(row, hosts)}
    inferred = _from_records(journal, unsaid)
    for row in rows:
        facts = inferred.get((row.site, row.stream))
        if facts is None:
            facts = StreamFacts(row.count, _said(row, hosts))
        else:
            facts = facts._replace(events=row.count - facts.events)
            if row.stream in hosts:
                facts = facts._replace(inferred=False)  # the page of the process counts the drops of all its sites
        found.streams.setdefault(row.site, {})[row.stream] = facts
    found.lost.extend(
        LostRange(gap.site, gap.stream, gap.reason, gap.count, journaled=gap.kind == GapKind.CHANGED)
        for gap in ledger.gaps(journal)
    )
    return found


def is_host(site: str) -> bool:
    """Return whether the name is that of a process that works for many sites; no site can have it."""
    return site.startswith("@")


def _is_unsaid(row: StoredStream, hosts: Mapping[str, StoredStream]) -> bool:
    """Return whether only the records of a stream show how many of its calls were dropped, withheld or rejected.

    That is so in a journal of format 1, and for some calls of a site that shared its process with others.
    """
    if row.counted is not None or is_host(row.site):
        return False
    host = hosts.get(row.stream)
    return host is None or host.counted is None or bool(host.counted and (host.counts.rejected or host.counts.withheld))


def _said(row: StoredStream, hosts: Mapping[str, StoredStream]) -> Counts | None:
    if row.counted is None and row.stream in hosts and not is_host(row.site):
        # The page of the process has no counts by site: its dropped calls are in its own row, and it rejected none.
        return Counts() if hosts[row.stream].counted else None
    if row.counted is None and is_host(row.site):
        return Counts()  # of format 1, which had no pages: its dropped calls are among the gaps
    return row.counts if row.counted else None


def _from_records(journal: Journal, streams: Collection[tuple[str, str]]) -> dict[tuple[str, str], StreamFacts]:
    """Return the counts that the records of streams show.

    ``events`` is here the number of reports of drops, because a journal of format 1 counts them as events.
    """
    if not streams:
        return {}
    seen: defaultdict[tuple[str, str], StreamFacts] = defaultdict(lambda: StreamFacts(inferred=True))
    seen.update({key: StreamFacts(inferred=True) for key in streams})
    after = 0
    while batches := journal.read(after):
        for batch in batches:
            if (batch.site, batch.stream) in streams:
                seen[batch.site, batch.stream] = _with_batch(seen[batch.site, batch.stream], batch)
        after = batches[-1].id
    return dict(seen)


def _with_batch(facts: StreamFacts, batch: StoredBatch) -> StreamFacts:
    if not _MAY_COUNT.search(batch.body):  # most batches have only plain events, and their frames need not be read
        return facts
    rejected = dropped = reports = withheld = 0
    for _, payload in frames.split(batch.body):
        number = number_of(payload)
        rejected += number == REJECTED_KIND
        if number == GAP_KIND:
            reports += 1
            dropped += _count_in(payload)
        elif number == WITHHELD_KIND:
            withheld = max(withheld, _count_in(payload))  # each says how many it were so far
    counts = add_counts((facts.counts, Counts(dropped, 0, rejected)))
    if counts is not None and withheld:
        counts = counts._replace(withheld=max(counts.withheld, withheld))
    counted_as_events = batch.count - batch.recount()
    return StreamFacts(facts.events + counted_as_events, counts, facts.reports + reports, inferred=True)


def _count_in(payload: memoryview) -> int:
    try:
        record = decode(payload)
    except msgspec.DecodeError:
        return 0
    return record.count if isinstance(record, Gap | Withheld) else 0


def add_counts(parts: Iterable[Counts | None]) -> Counts | None:
    """Return the sum; None if a part is not known."""
    known = list(parts)
    if any(part is None for part in known):
        return None
    return Counts(*(sum(column) for column in zip(Counts(), *(part for part in known if part), strict=True)))
