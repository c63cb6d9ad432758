"""Stored tally: the tally of a run from its files, which it does not change; also while the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TypeAlias

from fedtrack.delivery.addressed import hears_sites
from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.ledger import Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.errors import FedtrackError
from fedtrack.journal.journal import Journal
from fedtrack.runs.journal_facts import is_host
from fedtrack.runs.live_run import server_of
from fedtrack.runs.refusals import refusals
from fedtrack.runs.result import RunResult
from fedtrack.runs.stored_run import LOST_JOURNAL, StoredRun
from fedtrack.runs.tally import CountedSite, Goodbye, SiteTally, Tally, take_tally
from fedtrack.runs.worker_folders import spool_of, worker_folders, worker_name
from fedtrack.spool.segments import is_open
from fedtrack.tracking.events import SERVER

#: By node.
Stores: TypeAlias = dict[str, tuple[Journal, Ledger]]


def tally_of(run: StoredRun, result: RunResult | None = None) -> Tally:
    """Count the events in the spools, in the journals and at the receivers of a run.

    Args:
        run: The run.
        result: Its summary; None means the one in its folder.
    """
    result = run.result if result is None else result
    with ExitStack() as stack:
        stores = {node: stack.enter_context(run.stores(node)) for node in run.journaling_nodes()}
        workers = {worker_name(folder): spool_of(folder) for folder in worker_folders(run.workers)}
        found = take_tally(
            stores,
            _sites(run, result, stores),
            _receivers(run, result, stores),
            workers=workers if SERVER in stores else None,
        )
        for node, (_, ledger) in stores.items():
            found.refused += refusals(ledger, node)
    if SERVER not in stores and result is not None:
        found.gaps += result.gaps
    if run.journal_is_lost:
        found.gaps.append((SERVER, LOST_JOURNAL))
    return found


def _sites(run: StoredRun, result: RunResult | None, stores: Stores) -> Iterator[CountedSite]:
    known = [name for name in result.sites if not is_host(name)] if result else []
    over = server_of(run.folder) is None
    own = [] if run.is_collected else [SERVER]  # a collector logs nothing itself
    gone = set(stores[SERVER][0].forgotten.all()) if SERVER in stores else set()
    for name in dict.fromkeys([*own, *run.sites(), *known]):
        if name in gone:
            continue
        before = result.sites.get(name) if result else None
        crosses = before.streams_to_server if before else True
        home = name if name in stores else before.node if before and before.node != SERVER else ""
        yield CountedSite(
            name=name,
            spool=run.node(name) / "spool",
            # Their processes end with the server; what they logged is then in the spools and pages that are here.
            goodbye=_goodbye(before) or (Goodbye() if _is_known(run, name, stores, over=over) else None),
            streams_to_server=crosses,
            node=SERVER if crosses else home,
            error=before.error if before else "",
            before=before,
        )


def _is_known(run: StoredRun, name: str, stores: Stores, *, over: bool) -> bool:
    """Return whether every call of a site is in its spool, its pages or the journal."""
    if run.is_collected:
        if (run.node(name) / "spool").is_dir():
            return _has_ended(run, name)
        return SERVER in stores and stores[SERVER][0].goodbyes.has_everything_of(name)
    return over and _has_ended(run, name)


def logs_still(run: StoredRun, name: str) -> bool:
    """Return whether a process on this machine still has a segment of a site's spool open."""
    return any(is_open(path) for path in (run.node(name) / "spool").glob("*.spool"))


def _has_ended(run: StoredRun, name: str) -> bool:
    """Return whether a site's processes were on this machine, and none of them still has a segment open."""
    if not run.node(name).is_dir():
        return run.workers.is_dir()  # of a run that was fetched, the spools are elsewhere
    return not logs_still(run, name)


def _goodbye(before: SiteTally | None) -> Goodbye | None:
    """Return the goodbye of a site from its counts in the summary; without them its processes may still be alive."""
    if before is None or before.logged is None:
        return None
    older = before.in_spool is None and before.lost is None  # such a summary counts the reports of drops as events
    return Goodbye(before.logged, before.dropped or 0, None, older, before.withheld, before.rejected)


def _receivers(run: StoredRun, result: RunResult | None, stores: Stores) -> list[ReceiverTally]:
    """Return the receivers in the summary, and those that only the job names.

    Without a summary, the job's receivers count also if their backends were never opened.
    """
    known = dict(result.receivers) if result else {}
    unnamed = {id_ for id_ in stores[SERVER][1].cursors() if id_ not in known} if SERVER in stores else set()
    if unnamed or result is None:
        try:
            receivers = run.receivers()
        except FedtrackError:
            return list(known.values())  # then they count as receivers that listen to every site
        for node, items in receivers.items():
            for id_, item in items.items():
                if node != SERVER and result is None:
                    known[receiver_label(node, id_)] = ReceiverTally(item.name, node, id=id_)
                elif node == SERVER and (id_ in unnamed or result is None):
                    own_only = not hears_sites(SERVER, item)
                    known[id_] = ReceiverTally(item.name, SERVER, 0, {}, 0, 0, id=id_, own_only=own_only)
    return list(known.values())
