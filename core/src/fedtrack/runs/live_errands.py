"""Live errands: a replay, a retry, a drop or a prune of a run that goes on, done by the process that delivers."""

from __future__ import annotations

from time import monotonic, sleep

from fedtrack.delivery.errands.mailbox import Mailbox
from fedtrack.delivery.errands.messages import Answer, Errand
from fedtrack.delivery.ledger_lock import LOCK_FILE
from fedtrack.errors import WorkspaceError
from fedtrack.runs.child_run import holder
from fedtrack.runs.live_run import server_of
from fedtrack.runs.stored_run import StoredRun

#: How long a run may take to start its deliveries, or to end after them.
_PATIENCE_SECONDS = 15.0
_POLL_SECONDS = 0.1


def delivers(run: StoredRun, node: str) -> bool:
    """Return whether a process delivers from a node's journal now."""
    return holder(run.node(node) / LOCK_FILE) is not None


def ask(run: StoredRun, node: str, errand: Errand) -> Answer | None:
    """Let the process that delivers from a node's journal do an errand.

    Args:
        run: The run.
        node: The server, or a site with receivers of its own.
        errand: The errand.

    Returns:
        The answer; None if the run does not go on, so that its files may be changed by anybody.

    Raises:
        WorkspaceError: The errand was not done, or no process of the run delivers from the journal.
    """
    waiting = monotonic()
    while (server := server_of(run.folder)) is not None:
        if delivers(run, node):
            answer = Mailbox(run.node(node)).ask(errand, lambda: delivers(run, node))
            if answer is not None and answer.error:
                raise WorkspaceError(answer.error)
            if answer is not None:
                return answer
            waiting = monotonic()
        if monotonic() - waiting > _PATIENCE_SECONDS:
            raise WorkspaceError(
                f"The run in {str(run.base)!r} goes on in the process {server}, and no process delivers from the "
                f"journal of {node} now; try again when the run is over."
            )
        sleep(_POLL_SECONDS)
    return None
