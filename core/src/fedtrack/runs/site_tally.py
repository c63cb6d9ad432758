"""SiteTally: the counts of one site's log calls, from its journal, its spool and the goodbye of its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from fedtrack.runs.journal_facts import JournalFacts, LostRange, StreamFacts, add_counts
from fedtrack.runs.spool_count import SpoolCount
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.events import SERVER


class SiteTally(msgspec.Struct):
    """One site's log calls; keys are only ever added.

    Attributes:
        logged: Calls that returned and are stored, also as a rejection; None if that is not known.
        journaled: Those in the journal: the server's, or the site's own if its events stay at the site.
        dropped: Calls for which there was no room on the site's disk or in the spool's limit.
        rejected: Calls whose value no record can hold.
        streams_to_server: Whether the site's events go to the server.
        error: Why the site failed, or "".
        withheld: Calls that the site's policy keeps at the site.
        in_spool: Events in its spool that should be in a journal and are not.
        lost: Logged events that are in no spool and no journal.
        node: The node with the journal for its events; "" if they stay in its spool.
        unreadable: Why a part of its spool could not be counted, or "".
    """

    logged: int | None
    journaled: int
    dropped: int | None = 0
    rejected: int | None = 0
    streams_to_server: bool = True
    error: str = ""
    withheld: int | None = 0
    in_spool: int | None = None
    lost: int | None = None
    node: str = SERVER
    unreadable: str = ""

    @property
    def calls(self) -> int | None:
        """How many log calls returned; None if a part of them is not known."""
        if self.logged is None or self.withheld is None or self.dropped is None:
            return None
        return self.logged + self.withheld + self.dropped

    @property
    def complete(self) -> bool:
        """Whether every call is known to be where it belongs.

        If events stay in the site's own spool, no journal needs them, and only known losses make the site incomplete.
        """
        if self.dropped or self.lost or self.unreadable:
            return False
        if not self.node:
            return True
        return self.calls is not None and self.journaled >= (self.logged or 0) and not self.in_spool


class Goodbye(NamedTuple):
    """The counts of a site's processes, after their end.

    A stream without such counts is counted from its files: every call that returned is in its records or in its page.

    Attributes:
        stored: How many events they stored.
        dropped: How many calls found no room.
        streams: The streams that these counts include; None if that is not known: all of them, or some.
        with_reports: Whether ``stored`` includes the reports of drops, as in earlier versions.
        withheld: How many calls the site's policy kept at the site; None if that is not known.
        rejected: How many of the calls had a value that no record can hold; None if that is not known.
    """

    stored: int = 0
    dropped: int = 0
    streams: frozenset[str] | None = frozenset()
    with_reports: bool = False
    withheld: int | None = None
    rejected: int | None = None


@dataclass(frozen=True)
class CountedSite:
    """A site, as the tally's input.

    Attributes:
        name: Its name.
        spool: Its spool folder; None if it is not on this machine, or not a spool of this site alone.
        goodbye: The counts of its processes; None as long as one may be alive, or has records that are not here yet.
        streams_to_server: Whether its events go to the server.
        node: The node with the journal for its events; "" if they stay in its spool.
        error: Why it failed, or "".
        before: Its earlier counts, which are used if its journal is not here.
    """

    name: str
    spool: Path | None
    goodbye: Goodbye | None
    streams_to_server: bool = True
    node: str = SERVER
    error: str = ""
    before: SiteTally | None = None


def count_site(
    site: CountedSite,
    facts: JournalFacts | None,
    shared: Counts | None,
    beyond: SpoolCount | None,
) -> SiteTally:
    """Count a site's log calls.

    Args:
        site: The site.
        facts: The facts of the journal for its events; None if there is none, or it is not here.
        shared: The counts of processes that work for many sites, for all of these sites together; None if they are not
            known.
        beyond: The events in its spool; None if there is none, or it is not here.
    """
    if facts is None and site.node:  # its journal is not here
        before = site.before or SiteTally(None, 0, None, None, withheld=None)
        return msgspec.structs.replace(before, streams_to_server=site.streams_to_server)
    arrived = facts.streams.get(site.name, {}) if facts else {}
    lost = [one for one in facts.lost if one.site == site.name] if facts else []
    has_spool = site.spool is not None and site.spool.is_dir()
    calls = _Calls(arrived, beyond, lost, site.goodbye, has_spool)
    own = site.name == SERVER
    return SiteTally(
        logged=calls.logged,
        journaled=calls.journaled,
        dropped=calls.dropped if own or (shared is not None and not shared.dropped) else None,
        rejected=calls.rejected,
        streams_to_server=site.streams_to_server,
        error=site.error,
        withheld=calls.withheld if own or shared is not None else None,
        in_spool=calls.in_spool,
        lost=calls.lost_events,
        node=site.node,
        unreadable=why_unreadable(beyond),
    )


def why_unreadable(beyond: SpoolCount | None) -> str:
    """Return why a part of a spool could not be counted, or ""."""
    return next(iter(beyond.unreadable.values()), "") if beyond else ""


def together(arrived: StreamFacts | None, waiting: StreamFacts | None) -> StreamFacts:
    """Return the facts of a stream from the journal and from its spool, as one."""
    if arrived is None or waiting is None:
        return arrived or waiting or StreamFacts()
    inferred = arrived.inferred and waiting.counts is None
    counts = waiting.counts
    if arrived.counts is not None and waiting.counts is not None:
        # Both count the whole stream.
        counts = Counts(*map(max, arrived.counts, waiting.counts))
    elif not waiting.events:  # the page is deleted once the journal has its counts
        counts = arrived.counts if waiting.counts is None else waiting.counts
    return StreamFacts(arrived.events + waiting.events, counts, arrived.reports, inferred)


@dataclass(frozen=True)
class _Calls:
    """A site's calls: in the journal, in its spool, lost, and as its processes counted them."""

    arrived: Mapping[str, StreamFacts]
    beyond: SpoolCount | None
    lost: list[LostRange]
    goodbye: Goodbye | None
    has_spool: bool

    @property
    def journaled(self) -> int:
        stored = sum(facts.events for facts in self.arrived.values())
        return stored - sum(one.events or 0 for one in self.lost if one.journaled)

    @property
    def logged(self) -> int | None:
        if self.goodbye is None:
            return None
        said = self.goodbye.stored
        if self.goodbye.with_reports:
            said -= sum(facts.reports for facts in self._parts(self.goodbye.streams))
        if self.goodbye.streams is None:
            held = self._held(frozenset())
            return said if held is None else max(said, held)
        held = self._held(self.goodbye.streams)
        return None if held is None else said + held

    @property
    def in_spool(self) -> int | None:
        if self.beyond is not None:
            return self.beyond.events
        return 0 if self.logged == self.journaled else None  # nothing is left for a spool that is not here

    @property
    def lost_events(self) -> int | None:
        if self.logged is None or self.in_spool is None:
            return None
        return max(0, self.logged - self.journaled - self.in_spool)

    @property
    def dropped(self) -> int | None:
        counts, goodbye = self.counts(), self.goodbye or Goodbye()
        if goodbye.streams is None:
            return max(goodbye.dropped, counts.dropped) if counts else goodbye.dropped
        others = self._parts(None, but=goodbye.streams)
        if not others and not goodbye.streams and self.has_spool:
            # Its process opened a spool and left no stream in it: it logged nothing, or had no room for the first file.
            return None
        known = add_counts(facts.counts for facts in others)
        if known is None or not self._is_all_here or any(self._is_at_least(facts) for facts in others):
            return None
        return goodbye.dropped + known.dropped

    @property
    def rejected(self) -> int | None:
        counts = self.counts()
        return counts.rejected if counts else self.goodbye.rejected if self.goodbye else None

    @property
    def withheld(self) -> int | None:
        counts = self.counts()
        return counts.withheld if counts else self.goodbye.withheld if self.goodbye else None

    def counts(self) -> Counts | None:
        """Return the dropped, withheld and rejected calls of all streams; None if a part of them is not known."""
        return add_counts(facts.counts for facts in self._parts(None)) if self._is_all_here else None

    @property
    def _is_all_here(self) -> bool:
        return self.beyond is not None or (self.logged is not None and self.logged == self.journaled)

    def _is_at_least(self, facts: StreamFacts) -> bool:
        """Return whether more calls may have been dropped than these facts show."""
        # If the spool is elsewhere, only the site's goodbye or the stream's page can show that no call was dropped.
        return facts.inferred and (bool(facts.reports) or self.beyond is None)

    def _held(self, but: frozenset[str]) -> int | None:
        """Return how many events the streams that are not in ``but`` held; None if that is not known."""
        lost = [one.events for one in self.lost if one.stream not in but and not one.journaled]
        if (self.beyond is not None and self.beyond.uncountable - but) or None in lost:
            return None
        return sum(facts.events for facts in self._parts(None, but=but)) + sum(events or 0 for events in lost)

    def _parts(self, streams: frozenset[str] | None, but: frozenset[str] = frozenset()) -> list[StreamFacts]:
        """Return the facts of ``streams``, or of all, without those in ``but``."""
        waiting = self.beyond.streams if self.beyond else {}
        return [
            together(self.arrived.get(stream), waiting.get(stream))
            for stream in dict.fromkeys([*self.arrived, *waiting])
            if (streams is None or stream in streams) and stream not in but
        ]
