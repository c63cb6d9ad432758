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
            with run.journal(node) as journal:
                deleted[node] = journal.prune(receivers.get(node, {}), before_ns)
        return deleted
