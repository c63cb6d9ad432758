"""Verify: counts a run's events again in spools, journals and backends, and names every difference.

A run that goes on is counted up to one moment. Events that are on their way are no difference then, and its backends
are left alone: a second client could end their runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from shlex import quote
from typing import NamedTuple, TypeAlias

import msgspec

from fedtrack.delivery.addressed import addressed
from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.ledger import LEDGER_FILE, Cursor, Ledger
from fedtrack.errors import DamagedError, FedtrackError, ReceiverError
from fedtrack.journal.journal import Journal, StoredBatch
from fedtrack.journal.read_around import damage_of
from fedtrack.runs.journal_facts import is_host, read_facts
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.run_state import view
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import logs_still, tally_of
from fedtrack.runs.tally import SiteTally
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Artifact, BlobRef, Image, Metric, Record, Text, decode

_NOT_LOGGED = "do not hold what was logged"
_LOGS_STILL = ", because a process of the site is alive and has outlived the run"
_CHANGED = "were changed after they were written"
_MISSING = "are missing; to deliver all events again: fedtrack runs replay --again"
_REFUSED = "were refused; see: fedtrack runs dlq list"
#: See ``verify``.
Counting: TypeAlias = Callable[[str, int, int], None]


class Check(NamedTuple):
    """One comparison.

    Attributes:
        what: The counted quantity.
        expected: The expected number.
        found: The number found; None if it cannot be counted here.
        problem: The meaning of the difference, or "".
    """

    what: str
    expected: int
    found: int | None
    problem: str = ""


def verify(run: StoredRun, told: Counting = lambda label, done, total: None) -> list[Check]:
    """Count everything again; of a run that goes on, what its journals have at this moment.

    Args:
        run: The run.
        told: Called while a backend is counted: with the receiver's label, and with the number of steps that are done
            and that of all steps.

    Raises:
        WorkspaceError: Another command works on the run.
        FedtrackError: The run or its job cannot be read.
    """
    if view(run).goes_on:
        return list(_live_checks(run))
    with run.unchanged():
        return list(_checks(run, told))


def _live_checks(run: StoredRun) -> Iterator[Check]:
    """Compare what does not change any more: the batches until now, and the receivers' counts of them."""
    tally = tally_of(run)
    receivers = receivers_of(run)
    for name, site in tally.sites.items():
        yield from _check_losses(name, site, live=True)
    for site_name, reason in tally.gaps:
        yield Check(f"{site_name}: lost", 0, None, reason)
    for node in run.journaling_nodes():
        info = run.info(node, tuple(run.sites()) if node == SERVER else (node,))
        with run.stores(node) as (journal, ledger):
            # The cursors first: they are then within the batches that are read.
            cursors, last = ledger.cursors(), journal.last_batch()
            rows = _count_rows(run, node, last)
            for site_name, count in sorted(journal.counts_up_to(last).items()):
                what = f"{node}: journal until now, {site_name}"
                yield _check(what, count, rows.found[site_name], "differ from its mark")
                yield _check(f"{node}: damaged files, {site_name}", 0, rows.damaged[site_name], _NOT_LOGGED)
            yield _check(f"{node}: damaged batches", 0, rows.changed, _CHANGED)
            for id_, receiver in receivers.get(node, {}).items():
                shown, cursor, listens = (
                    receiver_label(node, id_),
                    cursors.get(id_, Cursor()),
                    addressed(info, receiver),
                )
                pending = sum(one.recount() for one in _batches(journal, cursor.batch, last) if listens(one.site))
                yield _check_passed(shown, cursor, pending, rows, listens)
                yield _check(f"{shown}: refused", 0, cursor.dead, _REFUSED)


def _checks(run: StoredRun, told: Counting) -> Iterator[Check]:
    tally = tally_of(run)
    receivers = receivers_of(run)
    rows = {node: _count_rows(run, node) for node in run.journaling_nodes()}
    for name, site in tally.sites.items():
        found = rows[site.node].events(name) if site.node in rows else None
        yield from _check_site(name, site, found, still_logs=logs_still(run, name))
    for site_name, reason in tally.gaps:
        yield Check(f"{site_name}: lost", 0, None, reason)
    yield from _check_forgotten(run, rows)
    yield from _check_files(run)
    for node, counted in rows.items():
        info = run.info(node, tuple(run.sites()) if node == SERVER else (node,))
        with run.stores(node) as (journal, ledger):
            yield from _check_journal(node, journal, ledger, counted)
            for id_, receiver in receivers.get(node, {}).items():
                receiver.counting = partial(told, receiver_label(node, id_))
                yield from _check_receiver(id_, receiver, journal, ledger, info, counted, run)


def _check_forgotten(run: StoredRun, rows: Mapping[str, _Rows]) -> Iterator[Check]:
    """Look for events of sites that were forgotten."""
    for node, counted in rows.items():
        with run.journal(node) as journal:
            for site in journal.forgotten.all():
                yield _check(
                    f"{site}: forgotten", 0, counted.events(site), f"are in the journal of {node} nevertheless"
                )


def _check_files(run: StoredRun) -> Iterator[Check]:
    """Let SQLite check the files; events that are gone are counted with the journal."""
    for node in run.journaling_nodes():
        for path in (run.node(node) / "journal.db", run.node(node) / LEDGER_FILE):
            problem = damage_of(path)
            remedy = f"{path.name} is damaged: {problem}; try: fedtrack runs salvage {quote(str(run.base))}"
            yield Check(f"{node}: {path.name}", 0, None if problem else 0, remedy if problem else "")


def _check_site(name: str, site: SiteTally, rows: int | None, *, still_logs: bool) -> Iterator[Check]:
    """Compare a site's counts with its events in the journal, ``rows``; None if there is no journal."""
    waiting = (site.in_spool or 0) if site.node else 0
    why = _LOGS_STILL if still_logs else ""
    yield _check(f"{name}: in the spool only", 0, waiting, f"are not in the journal{why}; try: fedtrack runs replay")
    yield from _check_losses(name, site)
    if site.logged is None:
        if not is_host(name):  # of a process for many sites, each site has its own count
            yield Check(f"{name}: logged", rows or 0, None, "how many log calls were made is not known")
    elif rows is not None:
        # Those in the spool are a difference of their own, which is named above.
        yield _check(f"{name}: logged and in the journal", site.logged - waiting, rows, "differ")


def _check_losses(name: str, site: SiteTally, *, live: bool = False) -> Iterator[Check]:
    if site.unreadable:
        yield Check(f"{name}: in the spool", 0, None, site.unreadable)
    if site.dropped is not None:
        yield _check(f"{name}: dropped", 0, site.dropped, "log calls found no room in the spool, and are lost")
    elif not live:  # a site that goes on has not counted them yet
        yield Check(f"{name}: dropped", 0, None, "how many log calls found no room is not known")


class _Rows(NamedTuple):
    """The result of a second read of a journal's rows.

    Attributes:
        found: Events by site.
        pruned: Events by site that were deleted because every receiver has them.
        reports: Records by site that are not events, but are counted as events in a journal of format 1.
        damaged: Records by site whose files do not hold what was logged.
        changed: Batches that were changed after they were written.
    """

    found: Counter[str]
    pruned: dict[str, int]
    reports: Counter[str]
    damaged: Counter[str]
    changed: int

    def events(self, site: str) -> int:
        """Return how many events of a site were received."""
        return self.found[site] + self.pruned.get(site, 0)


def _count_rows(run: StoredRun, node: str, last: int | None = None) -> _Rows:
    """Read every record of a journal up to the batch ``last``, and the files that it refers to."""
    found: Counter[str] = Counter()
    reports: Counter[str] = Counter()
    damaged: Counter[str] = Counter()
    changed = 0
    blobs = BlobStore(run.node(node) / "blobs")
    with run.journal(node) as journal:
        journal.check()
        for batch in _batches(journal, last=last):
            events = sum(1 for _ in batch.events())
            found[batch.site] += events
            reports[batch.site] += batch.recount() - events
            changed += bool(batch.lost or batch.lost_bytes)
            damaged[batch.site] += sum(not _is_whole(record, blobs) for _, record in _records(batch))
        pruned = {site: journal.pruned(site) for site in journal.counts()}
        return _Rows(found, pruned, reports, damaged, changed)


def _check_journal(node: str, journal: Journal, ledger: Ledger, rows: _Rows) -> Iterator[Check]:
    """Compare the rows with the marks that were stored beside them."""
    for site, count in read_facts(journal, ledger).events().items():
        yield _check(f"{node}: journal, {site}", count, rows.events(site), "differ from its mark")
        yield _check(f"{node}: damaged files, {site}", 0, rows.damaged[site], _NOT_LOGGED)
    yield _check(f"{node}: damaged batches", 0, rows.changed, _CHANGED)


def _check_receiver(
    id_: str, receiver: Receiver, journal: Journal, ledger: Ledger, info: RunInfo, rows: _Rows, run: StoredRun
) -> Iterator[Check]:
    cursor = ledger.cursor(id_)
    shown = receiver_label(info.node, id_)
    listens = addressed(info, receiver)
    pending = sum(batch.recount() for batch in _batches(journal, cursor.batch) if listens(batch.site))
    yield _check(f"{shown}: pending", 0, pending, "wait; try: fedtrack runs replay")
    yield _check_passed(shown, cursor, pending, rows, listens)
    kept = len(ledger.dead_letters(id_)) + len(ledger.dropped(id_))
    yield _check(f"{shown}: refused", 0, cursor.dead, _REFUSED)
    yield _check(f"{shown}: dead letters", cursor.dead, kept, "differ from the cursor")
    expected = _expected_points(id_, receiver, journal, ledger, info)
    try:
        held = _held(receiver, info, [*expected], run)
    except (ReceiverError, FedtrackError, OSError) as error:
        yield Check(f"{shown}: {receiver.name}", sum(expected.values()), None, f"cannot be counted: {error}")
        return
    for site, count in expected.items():
        what = f"{shown}: points of {site} in {receiver.name}"
        if held is None:
            yield Check(what, count, None)
        elif not (rows.pruned.get(site) and held[site] >= count):  # pruned events are only in the backend
            yield _check(what, count, held[site], _MISSING if held[site] < count else "are there too often")


def _check_passed(shown: str, cursor: Cursor, pending: int, rows: _Rows, listens: Callable[[str], bool]) -> Check:
    """Compare what a cursor has counted with the rows that it has passed."""
    sites = [site for site in rows.found.keys() | rows.pruned.keys() if listens(site)]
    passed = sum(rows.events(site) + rows.reports[site] for site in sites) - pending
    counted = cursor.delivered + cursor.skipped + cursor.dead
    return _check(f"{shown}: delivered, skipped and dead", passed, counted, "differ from the rows of the journal")


def _held(receiver: Receiver, info: RunInfo, sites: list[str], run: StoredRun) -> dict[str, int] | None:
    result = run.result
    try:
        receiver.open(info)
        held = receiver.count(sites)
        return None if held is None else {site: held.get(site, 0) for site in sites}
    finally:
        receiver.close(result.status if result else "aborted")


def _expected_points(id_: str, receiver: Receiver, journal: Journal, ledger: Ledger, info: RunInfo) -> dict[str, int]:
    """Count the points that the receiver has taken; equal points count once if the backend stores them once."""
    listens, cursor = addressed(info, receiver), ledger.cursor(id_)
    refused = {letter[1:4] for letter in ledger.dead_letters(id_)} | {*ledger.dropped(id_)}
    counts: Counter[str] = Counter()
    different: defaultdict[str, set[int]] = defaultdict(set)  # hashes: 10^7 points must fit
    for batch in _batches(journal):
        if batch.id > cursor.batch or not listens(batch.site):
            continue
        for seq, record in _records(batch):
            if not isinstance(record, Metric) or (batch.site, batch.stream, seq) in refused:
                continue
            point = receiver.point(record)
            if point is None:
                counts[batch.site] += 1
            else:
                different[batch.site].add(hash(point))
    counts.update({site: len(points) for site, points in different.items()})
    return dict(sorted(counts.items())) if Metric in receiver.supports else {}


def _batches(journal: Journal, after: int = 0, last: int | None = None) -> Iterator[StoredBatch]:
    """Yield the batches after the one with the id ``after``, up to the one with the id ``last``."""
    while batches := journal.read(after):
        yield from (batch for batch in batches if last is None or batch.id <= last)
        after = batches[-1].id
        if last is not None and after >= last:
            return


def _records(batch: StoredBatch) -> Iterator[tuple[int, Record]]:
    """Yield (seq, record) of the events of a batch that this version knows."""
    for seq, payload in batch.events():
        try:
            yield seq, decode(payload)
        except msgspec.DecodeError:
            continue


def _is_whole(record: Record, blobs: BlobStore) -> bool:
    data = record.text if isinstance(record, Text) else record.data if isinstance(record, Image | Artifact) else None
    if not isinstance(data, BlobRef):
        return True
    try:
        blobs.read(data)
    except DamagedError:
        return False
    return True


def _check(what: str, expected: int, found: int, problem: str) -> Check:
    return Check(what, expected, found, "" if expected == found else f"{abs(found - expected):,} {problem}")
