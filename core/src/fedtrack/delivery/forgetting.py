"""Forgetting: a ledger without what receivers have done with a site's events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from fedtrack.delivery.ledger import Cursor, Ledger
from fedtrack.journal.batches import StoredBatch
from fedtrack.journal.forgetting import Passed, Tombstone
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.records import decode, kind_of

_KEY = "forgotten/"


def passed_of(
    site: str,
    id_: str,
    receiver: Receiver | None,
    cursor: Cursor,
    ledger: Ledger,
    batches: Callable[[], Iterable[StoredBatch]],
    pruned: int,
) -> Passed:
    """Return what a receiver has done with the events of a site.

    Args:
        site: The site, to which the receiver listens.
        id_: The receiver's component id.
        receiver: The receiver; None if it cannot be loaded, and then no event counts as skipped.
        cursor: Its progress.
        ledger: The ledger.
        batches: Returns the site's batches in the journal.
        pruned: How many of its events were deleted from the journal because every receiver has them.
    """
    events, skipped = pruned, Counter[str]()
    for batch in batches():
        if batch.id > cursor.batch:
            break
        events += batch.recount() + batch.lost
        for _, payload in batch.events() if receiver is not None else ():
            try:
                record = decode(payload)
            except msgspec.DecodeError:
                continue
            if receiver is not None and type(record) not in receiver.supports:
                skipped[kind_of(record)] += 1
    dead = sum(letter.site == site for letter in ledger.dead_letters(id_))
    dead += sum(of == site for of, _, _ in ledger.dropped(id_))
    lost = ledger.lost_up_to(cursor.batch).get(site, 0)
    return Passed(max(0, events - skipped.total() - dead - lost), dict(skipped), dead)


def forget_deliveries(ledger: Ledger, site: str, stone: Tombstone) -> None:
    """Take a site's events out of a ledger; a second call with one tombstone changes nothing.

    Raises:
        WorkspaceError: Nothing was changed: the disk is full or fails.
    """
    key = f"{_KEY}{site}"
    if ledger.database.meta(key) == str(stone.at_ns):
        return
    ledger.database.writer.execute("PRAGMA secure_delete = ON")
    with ledger.database.transaction() as writer:
        for id_, passed in stone.receivers.items():
            writer.execute(
                "UPDATE cursor SET delivered = max(0, delivered - ?), skipped = max(0, skipped - ?), "
                "dead = max(0, dead - ?) WHERE receiver = ?",
                (passed.delivered, sum(passed.skipped.values()), passed.dead, id_),
            )
            writer.executemany(
                "UPDATE skipped SET n = max(0, n - ?) WHERE receiver = ? AND kind = ?",
                [(count, id_, kind) for kind, count in passed.skipped.items()],
            )
        for table in ("dead", "dropped", "damage"):
            writer.execute(f"DELETE FROM {table} WHERE site = ?", (site,))  # noqa: S608 - a constant
        writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, str(stone.at_ns)))
    ledger.database.shrink()
    ledger.database.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
