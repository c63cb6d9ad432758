"""Prune: deletes delivered events from the journals of a run, so that the disk has space."""

from __future__ import annotations

from shlex import quote
from time import time_ns

from fedtrack.errors import WorkspaceError
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun

_DAY_NS = 24 * 3600 * 10**9


def prune(run: StoredRun, older_than_days: float) -> dict[str, int]:
    """Delete the events that are older than ``older_than_days`` and that every receiver has; return how many, by node.

    Their age begins with their arrival in the journal. Events are deleted only on request.

    Raises:
        WorkspaceError: A server uses the workspace, or the run's job no longer exists.
    """
    with run.locked():
        receivers = receivers_of(run)
        before_ns = time_ns() - int(older_than_days * _DAY_NS)
        deleted = {}
        for node in run.journaling_nodes():
            with run.stores(node, write=True) as (journal, ledger):
                if journal.damage:
                    raise WorkspaceError(
                        f"{journal.path} is damaged, and nothing was deleted: {journal.damage}; try first: "
                        f"fedtrack runs salvage {quote(str(run.base))}."
                    )
                # Those that the job names, and all others that ever had a cursor.
                cursors = [ledger.cursor(id_).batch for id_ in {*receivers.get(node, {}), *ledger.cursors()}]
                # Without any receiver, only the journal has the events.
                done = min(cursors, default=0)
                dead = {letter.batch for letter in ledger.dead_letters()}
                deleted[node] = journal.prune(done, before_ns, dead)
        return deleted
