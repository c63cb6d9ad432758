"""Tally: the counts that show the result of every log call of a run; one for all engines, during the run and later.

    calls  = logged + withheld + dropped                       for each site; rejected calls are among the logged
    logged = journaled + in the spool + lost                   for each site
    addressed = delivered + skipped + dead + pending + lost    for each receiver, of the sites that it listens to

A log call counts as soon as it has returned. Records about calls, such as the number of dropped ones, are not events. A
count that is not known is None and never 0. A run with dropped or lost calls is never complete. The same holds if the
calls of a site are not all known, unless its events stay in its own spool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.ledger import Ledger
from fedtrack.delivery.report import ReceiverTally, count_receiver
from fedtrack.journal.journal import Journal
from fedtrack.runs.journal_facts import JournalFacts, add_counts, is_host, read_facts
from fedtrack.runs.refusals import Refusal
from fedtrack.runs.site_tally import CountedSite, Goodbye, SiteTally, count_site, together, why_unreadable
from fedtrack.runs.spool_count import SpoolCount, count_spool
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.events import SERVER

__all__ = ["CountedSite", "Goodbye", "SiteTally", "Tally", "events_complete", "take_tally"]


class Tally(msgspec.Struct):
    """A run's log calls; keys are only ever added.

    Attributes:
        sites: By name; the server's own records under ``server``, processes for many sites under ``@...``.
        receivers: By label; see ``receiver_label``.
        gaps: Damaged or lost ranges: (site, reason).
        refused: The dead letters.
        waiting: Why records of a site are in its spool and not in the journal, by site.
        forgotten: How many events the journals had of each site that was forgotten; they count nowhere else.
    """

    sites: dict[str, SiteTally] = {}
    receivers: dict[str, ReceiverTally] = {}
    gaps: list[tuple[str, str]] = []
    refused: list[Refusal] = []
    waiting: dict[str, str] = {}
    forgotten: dict[str, int] = {}

    @property
    def events_complete(self) -> bool:
        """Whether every log call is known to be where it belongs."""
        return events_complete(self.sites, self.gaps, self.waiting)

    @property
    def complete(self) -> bool:
        """Whether, in addition, every receiver has taken everything."""
        return self.events_complete and not any(one.pending or one.dead for one in self.receivers.values())


def events_complete(
    sites: Mapping[str, SiteTally], gaps: Iterable[tuple[str, str]], waiting: Mapping[str, str]
) -> bool:
    """Return whether every log call is known to be where it belongs."""
    return not list(gaps) and not waiting and all(site.complete for site in sites.values())


def take_tally(
    stores: Mapping[str, tuple[Journal, Ledger]],
    sites: Iterable[CountedSite],
    receivers: Iterable[ReceiverTally] = (),
    *,
    waiting: Mapping[str, str] | None = None,
    workers: Mapping[str, Path] | None = None,
) -> Tally:
    """Count a run's log calls from its journals, its spools and the goodbyes of its processes.

    Args:
        stores: The open journal and ledger of each node.
        sites: The sites, and the server.
        receivers: The receivers, with facts that no journal or ledger has.
        waiting: Why records of a site are not in the journal, by site.
        workers: Spool folders of processes that work for many sites, by name; see ``runs.worker_folders``.
    """
    facts = {node: read_facts(*pair) for node, pair in stores.items()}
    found = Tally({}, {}, [], [], dict(waiting or {}), {})
    homes, damage = {SERVER}, dict[str, SpoolCount | None]()
    hosts = _count_hosts(facts.get(SERVER), stores[SERVER][0] if SERVER in stores else None, workers or {})
    shared = add_counts(one.counts for one in hosts.values())
    for site in sites:
        journal = stores[site.node][0] if site.node in stores else None
        beyond = count_spool(site.spool, journal, site.name)
        found.sites[site.name] = count_site(site, facts.get(site.node), shared, beyond)
        damage[site.name] = beyond
        homes.add(site.node)
    for name, one in hosts.items():
        dropped = one.counts.dropped if one.counts else None
        damage[name] = one.beyond
        if one.waiting or one.unreadable or dropped != 0:
            found.sites[name] = SiteTally(None, 0, dropped, in_spool=one.waiting, unreadable=one.unreadable)
    for journal, _ in stores.values():
        for name, stone in journal.forgotten.all().items():
            found.forgotten[name] = found.forgotten.get(name, 0) + stone.events
    for node, said in facts.items():
        found.gaps += [(lost.site, lost.reason) for lost in said.lost if node in homes]
    found.gaps += _damage_of_spools(damage, facts.values())
    _count_receivers(found, stores, {one.label: one for one in receivers})
    return found


class _Host(NamedTuple):
    """A process that works for many sites: its counts, and how many events wait in its spool."""

    counts: Counts | None
    waiting: int | None
    unreadable: str
    beyond: SpoolCount | None


def _damage_of_spools(
    spools: Mapping[str, SpoolCount | None], facts: Iterable[JournalFacts]
) -> Iterator[tuple[str, str]]:
    """Yield (site, reason) of the damage in spools that no journal has recorded yet."""
    known = {(lost.site, lost.reason) for said in facts for lost in said.lost}
    for site, found in spools.items():
        for _, damage in found.damage if found else ():
            if (site, damage.reason) not in known:
                yield site, damage.reason


def _count_hosts(facts: JournalFacts | None, journal: Journal | None, workers: Mapping[str, Path]) -> dict[str, _Host]:
    if facts is None or journal is None:
        return {}
    found: dict[str, _Host] = {}
    for name in dict.fromkeys([*workers, *(site for site in facts.streams if is_host(site))]):
        arrived = facts.streams.get(name, {})
        beyond = count_spool(workers.get(name), journal, name)
        waiting = beyond.streams if beyond else {}
        streams = dict.fromkeys([*arrived, *waiting])
        counts = add_counts(together(arrived.get(stream), waiting.get(stream)).counts for stream in streams)
        found[name] = _Host(counts, beyond.events if beyond else 0, why_unreadable(beyond), beyond)
    return found


def _count_receivers(
    found: Tally, stores: Mapping[str, tuple[Journal, Ledger]], known: Mapping[str, ReceiverTally]
) -> None:
    """Use the ledgers' counts, which are right even if a process died before it reported."""
    found.receivers.update(known)
    for node, (journal, ledger) in stores.items():
        ids = {receiver.id for receiver in known.values() if receiver.node == node and receiver.id}
        for id_ in sorted(ids | ledger.cursors().keys()):
            label = receiver_label(node, id_)
            # An id that a replay gave begins with the receiver's name.
            receiver = known.get(label) or ReceiverTally(id_.partition("+")[0], node, id=id_)
            listens = _is_server if receiver.own_only else _is_any
            found.receivers[label] = count_receiver(receiver, journal, ledger, listens)


def _is_server(site: str) -> bool:
    return site == SERVER


def _is_any(site: str) -> bool:
    return True
