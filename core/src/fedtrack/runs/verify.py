"""Verify: counts a run's events again in spools, journals and backends, and names every difference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from fedtrack.delivery.host import addressed
from fedtrack.delivery.ledger import Ledger
from fedtrack.delivery.report import count_receiver
from fedtrack.errors import DamagedError, FedtrackError, ReceiverError
from fedtrack.journal.journal import Journal, StoredBatch
from fedtrack.runs.inventory import take_inventory
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Artifact, BlobRef, Image, Metric, Record, Text, decode


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
    inventory = take_inventory(run)
    for name, site in inventory.sites.items():
        yield _check(
            f"{name}: in the spool only", 0, site.in_spool, "are not in the journal; try: fedtrack runs replay"
        )
        if site.unreadable:
            yield Check(f"{name}: in the spool", 0, None, site.unreadable)
        if site.logged is not None and (site.streams_to_server or site.journaled):
            yield _check(f"{name}: logged and in the journal", site.logged, site.journaled, "differ")
    for site_name, reason in inventory.gaps:
        yield Check(f"{site_name}: lost", 0, None, reason)
    receivers = receivers_of(run)
    for node in run.journaling_nodes():
        info = run.info(node, tuple(run.sites()) if node == SERVER else (node,))
        with run.stores(node) as (journal, ledger):
            yield from _check_journal(node, journal, info.blobs)
            for id_, receiver in receivers.get(node, {}).items():
                yield from _check_receiver(id_, receiver, journal, ledger, info, run)


def _check_journal(node: str, journal: Journal, blobs: BlobStore) -> Iterator[Check]:
    """Recount the events in the rows, and read what they refer to."""
    counted: Counter[str] = Counter()
    damaged: Counter[str] = Counter()
    changed = 0
    for batch in _batches(journal):
        counted[batch.site] += batch.recount()
        changed += bool(batch.lost_bytes)
        for _, record in _records(batch):
            damaged[batch.site] += not _is_whole(record, blobs)
    for site, count in journal.counts().items():
        yield _check(f"{node}: journal, {site}", count, counted[site] + journal.pruned(site), "differ from its mark")
        yield _check(f"{node}: damaged files, {site}", 0, damaged[site], "do not hold what was logged")
    yield _check(f"{node}: damaged batches", 0, changed, "were changed after they were written")


def _check_receiver(
    id_: str, receiver: Receiver, journal: Journal, ledger: Ledger, info: RunInfo, run: StoredRun
) -> Iterator[Check]:
    counts = count_receiver(journal, ledger, id_, addressed(info, receiver))
    shown = id_ if info.node == SERVER else f"{info.node}/{id_}"
    yield _check(f"{shown}: pending", 0, counts.pending, "wait; try: fedtrack runs replay")
    kept = len(ledger.dead_letters(id_)) + len(ledger.dropped(id_))
    yield _check(f"{shown}: refused", 0, counts.dead, "were refused; see: fedtrack runs dlq list")
    yield _check(f"{shown}: dead letters", counts.dead, kept, "differ from the cursor")
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
        elif not (journal.pruned(site) and held[site] >= count):  # what was deleted here is only there
            yield _check(what, count, held[site], "are missing" if held[site] < count else "are there too often")


def _held(receiver: Receiver, info: RunInfo, sites: list[str], run: StoredRun) -> dict[str, int] | None:
    result = run.result
    try:
        receiver.open(info)
        held = receiver.count(sites)
        return None if held is None else {site: held.get(site, 0) for site in sites}
    finally:
        receiver.close(result.status if result else "aborted")


def _expected_points(id_: str, receiver: Receiver, journal: Journal, ledger: Ledger, info: RunInfo) -> dict[str, int]:
    """Count the points that the receiver has taken: equal ones once if the backend holds them once."""
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


def _batches(journal: Journal) -> Iterator[StoredBatch]:
    after = 0
    while batches := journal.read(after):
        yield from batches
        after = batches[-1].id


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
