"""Inventory: how many events of a run are at each stage, counted from its files without changing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fedtrack.delivery.ledger import DeadLetter, Ledger
from fedtrack.delivery.report import count_receiver
from fedtrack.errors import DamagedError
from fedtrack.journal.journal import Journal
from fedtrack.runs.result import SiteSummary
from fedtrack.runs.stored_run import LOST_JOURNAL, StoredRun
from fedtrack.runs.worker_folders import spool_of, worker_folders, worker_name
from fedtrack.spool import frames
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import decode, kind_of


class SiteCounts(msgspec.Struct):
    """One site's events.

    Attributes:
        logged: Events whose log call returned, as the site counted them; None if it never said.
        in_spool: Events in its spool that are in no journal that they should be in.
        journaled: Events in the journal: the server's, or the site's own if they stay there.
        streams_to_server: Whether they cross.
        unreadable: Why a part of its spool could not be counted, or "".
    """

    logged: int | None
    in_spool: int
    journaled: int
    streams_to_server: bool = True
    unreadable: str = ""


class ReceiverCounts(msgspec.Struct):
    """One receiver's events, as its cursor counts them."""

    receiver: str
    delivered: int
    skipped: int
    dead: int
    pending: int
    error: str = ""


class Refusal(msgspec.Struct):
    """A dead letter, as people read it.

    Attributes:
        receiver: Who refused it; a site's own receiver is ``<site>/<id>``.
        site: Who logged it.
        seq: Its number in its stream.
        kind: What it is, or ``"unreadable"``.
        key: Its name or path.
        reason: The backend's words.
    """

    receiver: str
    site: str
    seq: int
    kind: str
    key: str
    reason: str


class Inventory(msgspec.Struct):
    """A run's events.

    Attributes:
        sites: By name.
        receivers: By component id; a site's own under ``<site>/<id>``, one the job does not name under ``<name>+...``.
        gaps: Lost ranges: (site, what happened).
        refused: The dead letters.
    """

    sites: dict[str, SiteCounts]
    receivers: dict[str, ReceiverCounts]
    gaps: list[tuple[str, str]]
    refused: list[Refusal]

    @property
    def complete(self) -> bool:
        """Whether nothing is on its way, lost or refused."""
        on_its_way = any(site.in_spool or site.unreadable for site in self.sites.values())
        waiting = any(receiver.pending or receiver.dead for receiver in self.receivers.values())
        uncounted = any(
            site.logged is None or site.journaled < site.logged
            for site in self.sites.values()
            if site.streams_to_server
        )
        return not (on_its_way or waiting or uncounted or self.gaps)


@dataclass(frozen=True)
class _OpenJournal:
    journal: Journal
    ledger: Ledger
    counts: Mapping[str, int]


def take_inventory(run: StoredRun) -> Inventory:
    """Count what is in the spools, the journals and with the receivers of a run, which may still be going on."""
    result = run.result
    found = Inventory({}, {}, list(result.gaps) if result else [], [])
    for id_, summary in (result.receivers if result else {}).items():
        skipped = sum(summary.skipped.values())
        found.receivers[id_] = ReceiverCounts(
            summary.receiver, summary.delivered, skipped, summary.dead, summary.pending, summary.error
        )
    with ExitStack() as stack:
        journals: dict[str, _OpenJournal] = {}
        for node in run.journaling_nodes():
            journal, ledger = stack.enter_context(run.stores(node))
            journals[node] = _OpenJournal(journal, ledger, journal.counts())
        if run.journal_is_lost:
            found.gaps.append((SERVER, LOST_JOURNAL))
        if SERVER in journals:
            server = journals[SERVER]
            found.gaps = [(gap.site, gap.reason) for gap in server.ledger.gaps(server.journal)]
        for name in dict.fromkeys([SERVER, *run.sites(), *(result.sites if result else ())]):
            found.sites[name] = _site_counts(run, name, result.sites.get(name) if result else None, journals)
        if SERVER in journals:
            _add_workers(found, run, journals[SERVER].journal)
        for node, opened in journals.items():
            _add_receivers(found, node, opened)
    return found


def _site_counts(
    run: StoredRun, name: str, summary: SiteSummary | None, journals: Mapping[str, _OpenJournal]
) -> SiteCounts:
    crosses = summary.streams_to_server if summary else True
    logged = summary.logged if summary else None
    opened = journals.get(SERVER if crosses else name)
    if opened is None:
        # Nobody reads what stays at such a site; and of a run that was fetched, the summary may be all there is.
        return SiteCounts(logged, 0, summary.journaled if summary else 0, crosses)
    in_spool, unreadable = count_beyond(run.node(name) / "spool", opened.journal.high_waters(name))
    return SiteCounts(logged, in_spool, opened.counts.get(name, 0), crosses, unreadable)


def _add_workers(found: Inventory, run: StoredRun, journal: Journal) -> None:
    """Count what is still in the spools of processes that worked for many sites, and is in no journal."""
    for folder in worker_folders(run.workers):
        waiting, unreadable = count_beyond(spool_of(folder), journal.high_waters(worker_name(folder)))
        if waiting or unreadable:
            found.sites[worker_name(folder)] = SiteCounts(0, waiting, 0, unreadable=unreadable)


def refusal(letter: DeadLetter, node: str) -> Refusal:
    """Return a dead letter as people read it."""
    receiver = letter.receiver if node == SERVER else f"{node}/{letter.receiver}"
    try:
        record = decode(letter.payload)
    except msgspec.DecodeError:
        return Refusal(receiver, letter.site, letter.seq, "unreadable", "", letter.error)
    key = str(getattr(record, "key", getattr(record, "path", "")))
    return Refusal(receiver, letter.site, letter.seq, kind_of(record), key, letter.error)


def count_beyond(folder: Path, marks: dict[str, int]) -> tuple[int, str]:
    """Return how many intact events of a spool folder are beyond the marks of their streams, and what is unreadable."""
    total, unreadable = 0, ""
    for stream, segments in list_streams(folder).items():
        reader = SpoolReader(stream, marks.get(stream, 0), pass_bytes=2**62)
        try:
            for part in reader.read(segments, ended=True):
                total += frames.events_in(part.body, part.count) if isinstance(part, frames.FrameRange) else 0
        except DamagedError as error:  # of a newer version: the other streams are counted all the same
            unreadable = str(error)
    return total, unreadable


def _add_receivers(found: Inventory, node: str, opened: _OpenJournal) -> None:
    """Let the cursors have the last word: they are right also where the server died before it wrote a summary."""
    prefix = "" if node == SERVER else f"{node}/"
    for id_ in opened.ledger.cursors():
        counts = count_receiver(opened.journal, opened.ledger, id_)
        known = found.receivers.get(prefix + id_)
        found.receivers[prefix + id_] = ReceiverCounts(
            known.receiver if known else id_.partition("+")[0],
            counts.delivered,
            sum(counts.skipped.values()),
            counts.dead,
            counts.pending,
            known.error if known else "",
        )
    found.refused += [refusal(letter, node) for letter in opened.ledger.dead_letters()]


def kinds_refused(refused: list[Refusal]) -> Counter[tuple[str, str]]:
    """Count dead letters by receiver and reason."""
    return Counter((item.receiver, item.reason) for item in refused)
