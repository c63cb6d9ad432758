"""Prune: deletes delivered events from the journals of a run, so that the disk has space."""

from __future__ import annotations

from shlex import quote

from fedtrack.delivery.delivered import delete_delivered
from fedtrack.delivery.errands.messages import Prune
from fedtrack.errors import WorkspaceError
from fedtrack.runs.live_errands import ask
from fedtrack.runs.live_run import server_of
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun


def prune(run: StoredRun, older_than_days: float) -> dict[str, int]:
    """Delete the events that are older than ``older_than_days`` and that every receiver has; return how many, by node.

    Their age begins with their arrival in the journal. Events are deleted only on request. In a run that goes on, the
    processes that deliver do that.

    Raises:
        WorkspaceError: A process without receivers uses the workspace, or the run's job no longer exists.
    """
    live = _prune_live(run, older_than_days)
    if live is not None:
        return live
    with run.locked():
        receivers = receivers_of(run)
        deleted = {}
        for node in run.journaling_nodes():
            with run.stores(node, write=True) as (journal, ledger):
                if journal.damage:
                    raise WorkspaceError(
                        f"{journal.path} is damaged, and nothing was deleted: {journal.damage}; try first: "
                        f"fedtrack runs salvage {quote(str(run.base))}."
                    )
                deleted[node] = delete_delivered(journal, ledger, receivers.get(node, {}), older_than_days)
        return deleted


def _prune_live(run: StoredRun, older_than_days: float) -> dict[str, int] | None:
    if server_of(run.folder) is None:
        return None
    deleted = {}
    for node in run.journaling_nodes():
        answer = ask(run, node, Prune(older_than_days))
        if answer is None:
            return None
        deleted[node] = answer.count
    return deleted
