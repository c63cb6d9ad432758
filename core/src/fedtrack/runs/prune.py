"""Prune: gives the space of delivered events back to the disk."""

from __future__ import annotations

from time import time_ns

from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun

_DAY_NS = 24 * 3600 * 10**9


def prune(run: StoredRun, older_than_days: float) -> dict[str, int]:
    """Delete from each journal of a run what every receiver has had for so many days; return how many events, by node.

    Nothing is ever deleted without being asked for, and nothing that a receiver still has to get.

    Raises:
        WorkspaceError: A server is in the workspace, or the job that ran is not there any more.
    """
    with run.locked():
        receivers = receivers_of(run)
        before_ns = time_ns() - int(older_than_days * _DAY_NS)
        deleted = {}
        for node in run.journaling_nodes():
            with run.stores(node, write=True) as (journal, ledger):
                # Those that the job names, and all others that ever had a cursor.
                cursors = [ledger.cursor(id_).batch for id_ in {*receivers.get(node, {}), *ledger.cursors()}]
                # Without any receiver the journal is the only place where the events are.
                done = min(cursors, default=0)
                dead = {letter.batch for letter in ledger.dead_letters()}
                deleted[node] = journal.prune(done, before_ns, dead)
        return deleted
