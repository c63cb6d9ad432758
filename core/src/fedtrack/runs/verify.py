"""Verify: counts a run's events again in spools, journals and backends, and names every difference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from fedtrack.delivery.host import addressed
from fedtrack.delivery.label import receiver_label
from fedtrack.errors import DamagedError, FedtrackError, ReceiverError
from fedtrack.journal.journal import Cursor, Journal
from fedtrack.runs.journal_facts import read_facts
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.tally import SiteTally
from fedtrack.spool import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import AnyRecord, Artifact, BlobRef, Gap, Image, Metric, Text, decode


class Check(NamedTuple):
    """One comparison.

    Attributes:
        what: What was counted.
        expected: How many there should be.
        found: How many there are; None if that cannot be counted here.
        problem: What the difference means, or "".
    """

    what: str
    expected: int
    found: int | None
    problem: str = ""


def verify(run: StoredRun) -> list[Check]:
    """Count everything again.

    Raises:
        WorkspaceError: A server is in the workspace.
        FedtrackError: The run or its job cannot be read.
    """
    with run.locked():
        return list(_checks(run))


def _checks(run: StoredRun) -> Iterator[Check]:
    tally = tally_of(run)
    receivers = receivers_of(run)
    rows = {node: _count_rows(run, node) for node in run.journaling_nodes()}
    for name, site in tally.sites.items():
        found = rows[site.node].events(name) if site.node in rows else None
        yield from _check_site(name, site, found)
    for site_name, reason in tally.gaps:
        yield Check(f"{site_name}: lost", 0, None, reason)
    for node, counted in rows.items():
        info = run.info(node, tuple(run.sites()) if node == SERVER else (node,))
        with run.journal(node) as journal:
            yield from _check_journal(node, journal, counted)
            for id_, receiver in receivers.get(node, {}).items():
                yield from _check_receiver(id_, receiver, journal, info, counted, run)


def _check_site(name: str, site: SiteTally, rows: int | None) -> Iterator[Check]:
    """Compare what a site's processes counted with the rows of the journal; ``rows`` is None if there is none."""
    waiting = (site.in_spool or 0) if site.node else 0
    yield _check(f"{name}: in the spool only", 0, waiting, "are not in the journal; try: fedtrack runs replay")
    if site.unreadable:
        yield Check(f"{name}: in the spool", 0, None, site.unreadable)
    if site.dropped is None:
        yield Check(f"{name}: dropped", 0, None, "how many log calls found no room is not known")
    else:
        yield _check(f"{name}: dropped", 0, site.dropped, "log calls found no room in the spool, and are lost")
    if site.logged is None:
        if not name.startswith("@"):  # of a process for many sites, each site has its own count
            yield Check(f"{name}: logged", rows or 0, None, "how many log calls were made is not known")
    elif rows is not None:
        yield _check(f"{name}: logged and in the journal", site.logged, rows, "differ")


class _Rows(NamedTuple):
    """What was found when every row of a journal was read again.

    Attributes:
        found: Events by site.
        pruned: Events by site that were deleted because every receiver has them.
        reports: Records by site that say how many calls were dropped; they are no events.
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


def _count_rows(run: StoredRun, node: str) -> _Rows:
    """Read every record of a journal, and what it refers to."""
    found: Counter[str] = Counter()
    reports: Counter[str] = Counter()
    damaged: Counter[str] = Counter()
    blobs = BlobStore(run.node(node) / "blobs")
    with run.journal(node) as journal:
        gaps = len(journal.gaps())
        for site, _, _, _, record in _records(journal):
            (reports if isinstance(record, Gap) else found)[site] += 1
            damaged[site] += record is not None and not _is_whole(record, blobs)
        pruned = {site: journal.pruned(site) for site in journal.counts()}
        return _Rows(found, pruned, reports, damaged, len(journal.gaps()) - gaps)


def _check_journal(node: str, journal: Journal, rows: _Rows) -> Iterator[Check]:
    """Compare the rows with the marks that were stored beside them."""
    for site, count in read_facts(journal).events().items():
        yield _check(f"{node}: journal, {site}", count, rows.events(site), "differ from its mark")
        yield _check(f"{node}: damaged files, {site}", 0, rows.damaged[site], "do not hold what was logged")
    yield _check(f"{node}: damaged batches", 0, rows.changed, "were changed after they were written")


def _check_receiver(
    id_: str, receiver: Receiver, journal: Journal, info: RunInfo, rows: _Rows, run: StoredRun
) -> Iterator[Check]:
    cursor = journal.cursor(id_)
    shown = receiver_label(info.node, id_)
    listens = addressed(info, receiver)
    pending = _waiting(journal, cursor, listens)
    yield _check(f"{shown}: pending", 0, pending, "wait; try: fedtrack runs replay")
    yield _check_passed(shown, cursor, pending, rows, listens)
    kept = len(journal.dead_letters(id_)) + journal.dropped(id_)
    yield _check(f"{shown}: refused", 0, cursor.dead, "were refused; see: fedtrack runs dlq list")
    yield _check(f"{shown}: dead letters", cursor.dead, kept, "differ from the cursor")
    expected = _expected_points(id_, receiver, journal, info)
    try:
        held = _held(receiver, info, [*expected], run)
    except (ReceiverError, FedtrackError, OSError) as error:
        yield Check(f"{shown}: {receiver.name}", sum(expected.values()), None, f"cannot be counted: {error}")
        return
    for site, count in expected.items():
        what = f"{shown}: points of {site} in {receiver.name}"
        if held is None:
            yield Check(what, count, None)
        elif not (rows.pruned.get(site) and held[site] >= count):  # what was deleted here is only there
            yield _check(what, count, held[site], "are missing" if held[site] < count else "are there too often")


def _check_passed(shown: str, cursor: Cursor, pending: int, rows: _Rows, listens: Callable[[str], bool]) -> Check:
    """Compare what a cursor has counted with the rows that it has passed."""
    sites = [site for site in rows.found.keys() | rows.pruned.keys() if listens(site)]
    passed = sum(rows.events(site) for site in sites) - pending
    counted = cursor.delivered + cursor.skipped + cursor.dead
    # Earlier versions counted reports of drops among what a receiver skips.
    if 0 < counted - passed <= sum(rows.reports[site] for site in sites):
        counted = passed
    return _check(f"{shown}: delivered, skipped and dead", passed, counted, "differ from the rows of the journal")


def _waiting(journal: Journal, cursor: Cursor, listens: Callable[[str], bool]) -> int:
    """Count the events beyond a cursor, row by row."""
    return sum(
        batch > cursor.batch and listens(site) and not isinstance(record, Gap)
        for site, _, batch, _, record in _records(journal, cursor.batch)
    )


def _held(receiver: Receiver, info: RunInfo, sites: list[str], run: StoredRun) -> dict[str, int] | None:
    result = run.result
    try:
        receiver.open(info)
        held = receiver.count(sites)
        return None if held is None else {site: held.get(site, 0) for site in sites}
    finally:
        receiver.close(result.status if result else "aborted")


def _expected_points(id_: str, receiver: Receiver, journal: Journal, info: RunInfo) -> dict[str, int]:
    """Count the points that the receiver has taken: equal ones once if the backend holds them once."""
    listens, cursor = addressed(info, receiver), journal.cursor(id_)
    refused = {(letter.batch, letter.seq) for letter in journal.dead_letters(id_)}
    counts: Counter[str] = Counter()
    different: defaultdict[str, set[int]] = defaultdict(set)  # hashes: 10^7 points must fit
    for site, _, batch, seq, record in _records(journal):
        if batch > cursor.batch or not listens(site) or (batch, seq) in refused or not isinstance(record, Metric):
            continue
        point = receiver.point(record)
        if point is None:
            counts[site] += 1
        else:
            different[site].add(hash(point))
    counts.update({site: len(points) for site, points in different.items()})
    return dict(sorted(counts.items())) if Metric in receiver.supports else {}


def _records(journal: Journal, after: int = 0) -> Iterator[tuple[str, str, int, int, AnyRecord | None]]:
    """Yield (site, stream, batch, seq, record) of everything beyond a batch; None for what is no record."""
    while batches := journal.read(after):
        for batch in batches:
            after = batch.id
            for seq, payload in frames.split(batch.body):
                try:
                    record: AnyRecord | None = decode(payload)
                except msgspec.DecodeError:
                    record = None
                yield batch.site, batch.stream, batch.id, seq, record


def _is_whole(record: AnyRecord, blobs: BlobStore) -> bool:
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
