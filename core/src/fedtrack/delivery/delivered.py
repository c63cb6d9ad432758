"""Delivered events: those that every receiver has can be deleted from a journal."""

from __future__ import annotations

from collections.abc import Iterable
from time import time_ns

from fedtrack.delivery.ledger import Ledger
from fedtrack.journal.journal import Journal

_DAY_NS = 24 * 3600 * 10**9


def delete_delivered(journal: Journal, ledger: Ledger, receivers: Iterable[str], older_than_days: float) -> int:
    """Delete old events that every receiver has, and return how many.

    Args:
        journal: The journal.
        ledger: Its ledger.
        receivers: The ids of the receivers that the job names. All others that ever had a cursor count, too.
        older_than_days: Days since their arrival in the journal.

    Raises:
        WorkspaceError: Nothing was deleted: the disk is full or fails.
    """
    before_ns = time_ns() - int(older_than_days * _DAY_NS)
    cursors = ledger.cursors()
    # Without any receiver, only the journal has the events.
    done = min((ledger.cursor(id_).batch for id_ in {*receivers, *cursors}), default=0)
    return journal.prune(done, before_ns, {letter.batch for letter in ledger.dead_letters()})
