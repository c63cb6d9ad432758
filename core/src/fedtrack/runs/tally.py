"""Tally: what became of every log call of a run; one for all engines, while it runs and afterwards.

    calls  = logged + withheld + dropped                       for each site; rejected calls are among the logged
    logged = journaled + in the spool + lost                   for each site
    addressed = delivered + skipped + dead + pending + lost    for each receiver, of the sites that it listens to

A log call counts once it has returned. Records that say something about calls, such as how many were dropped, are no
events. What is not known is None and never 0, and nothing that is unknown, dropped or lost counts as complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.report import ReceiverTally
from fedtrack.journal.journal import Cursor, Journal
from fedtrack.runs.journal_facts import JournalFacts, ReceiverFacts, add_counts, read_facts
from fedtrack.runs.refusals import Refusal
from fedtrack.runs.site_tally import CountedSite, Goodbye, SiteTally, count_site, why_unreadable
from fedtrack.runs.spool_count import count_beyond
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.events import SERVER

__all__ = ["CountedSite", "Goodbye", "SiteTally", "Tally", "events_complete", "take_tally"]


class Tally(msgspec.Struct):
    """A run's log calls; keys are only ever added.

    Attributes:
        sites: By name; the server's own records under ``server``, processes for many sites under ``@...``.
        receivers: By label; see ``receiver_label``.
        gaps: Damaged or lost ranges: (site, what happened).
        refused: The dead letters.
        waiting: Why records of a site are in its spool and not in the journal, by site.
    """

    sites: dict[str, SiteTally] = {}
    receivers: dict[str, ReceiverTally] = {}
    gaps: list[tuple[str, str]] = []
    refused: list[Refusal] = []
    waiting: dict[str, str] = {}

    @property
    def events_complete(self) -> bool:
        """Whether every log call is known to be in a journal, or where it belongs instead."""
        return events_complete(self.sites, self.gaps, self.waiting)

    @property
    def complete(self) -> bool:
        """Whether, besides, every receiver has taken everything."""
        return self.events_complete and not any(one.pending or one.dead for one in self.receivers.values())


def events_complete(
    sites: Mapping[str, SiteTally], gaps: Iterable[tuple[str, str]], waiting: Mapping[str, str]
) -> bool:
    """Return whether every log call is known to be where it belongs."""
    return not list(gaps) and not waiting and all(site.complete for site in sites.values())


def take_tally(
    journals: Mapping[str, Journal],
    sites: Iterable[CountedSite],
    receivers: Iterable[ReceiverTally] = (),
    *,
    waiting: Mapping[str, str] | None = None,
    workers: Mapping[str, Path] | None = None,
) -> Tally:
    """Count a run's log calls from its journals, its spools and what its processes said.

    Args:
        journals: By node; open.
        sites: The sites, and the server.
        receivers: What is known of receivers besides what the journals say.
        waiting: Why records of a site are not in the journal, by site.
        workers: Spool folders of processes that work for many sites, by name; see ``runs.worker_folders``.
    """
    facts = {node: read_facts(journal) for node, journal in journals.items()}
    found = Tally({}, {}, [], [], dict(waiting or {}))
    homes = {SERVER}
    for site in sites:
        found.sites[site.name] = count_site(site, journals.get(site.node), facts.get(site.node))
        homes.add(site.node)
    for name, spool in (workers or {}).items():
        beyond = count_beyond(spool, journals[SERVER].high_waters(name))
        if beyond and (beyond.events or beyond.unreadable):
            counts = add_counts(one.counts for one in beyond.streams.values()) or Counts()
            found.sites[name] = SiteTally(
                None, 0, counts.dropped, in_spool=beyond.events, unreadable=why_unreadable(beyond)
            )
    for node, one in facts.items():
        found.gaps += [(lost.site, lost.reason) for lost in one.lost if node in homes]
    _count_receivers(found, facts, {one.label: one for one in receivers})
    return found


def _count_receivers(found: Tally, facts: Mapping[str, JournalFacts], known: Mapping[str, ReceiverTally]) -> None:
    """Let the cursors have the last word: they are right also where a process died before it could report."""
    found.receivers.update(known)
    for node, one in facts.items():
        events = one.events()
        ids = {receiver.id for receiver in known.values() if receiver.node == node and receiver.id}
        for id_ in sorted(ids | one.receivers.keys()):
            label = receiver_label(node, id_)
            # Named by a replay, the component's id begins with the receiver's name.
            receiver = known.get(label) or ReceiverTally(id_.partition("+")[0], node, 0, {}, 0, 0, id=id_)
            place = one.receivers.get(id_) or ReceiverFacts(Cursor(), events)
            found.receivers[label] = _receiver_tally(receiver, place, events)


def _receiver_tally(receiver: ReceiverTally, place: ReceiverFacts, events: Mapping[str, int]) -> ReceiverTally:
    listens = [SERVER] if receiver.own_only else list(events)
    return msgspec.structs.replace(
        receiver,
        delivered=place.cursor.delivered,
        skipped_total=place.cursor.skipped,
        dead=place.cursor.dead,
        pending=sum(place.pending.get(site, 0) for site in listens),
        addressed=sum(events.get(site, 0) for site in listens),
    )
