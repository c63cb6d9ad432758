"""Dead letters: the events that receivers refused for good; they are retried or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedtrack.delivery.errands.messages import Drop, Retry
from fedtrack.delivery.label import split_label
from fedtrack.delivery.ledger import Ledger
from fedtrack.delivery.second_try import Retried, try_again
from fedtrack.errors import ConfigError
from fedtrack.runs.live_errands import ask
from fedtrack.runs.live_run import server_of
from fedtrack.runs.refusals import Refusal, refusals
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun
from fedtrack.tracking.events import SERVER


def list_dead(run: StoredRun) -> list[Refusal]:
    """Return a run's dead letters."""
    found = []
    for node in run.journaling_nodes():
        with run.stores(node) as (_, ledger):
            found += refusals(ledger, node)
    return found


def drop(run: StoredRun, receiver: str) -> int:
    """Drop a receiver's dead letters; return how many. Their events stay in the journal, counted as refused.

    Raises:
        ConfigError: The receiver has none.
        WorkspaceError: A process that does not deliver uses the workspace.
    """
    if server_of(run.folder) is not None:
        with _owner(run, receiver, write=False) as (node, id_, _):
            pass
        answer = ask(run, node, Drop(id_))
        if answer is not None:
            return answer.count
    with run.locked(), _owner(run, receiver) as (_, id_, ledger):
        letters = ledger.dead_letters(id_)
        ledger.settle(id_, [], dropped=letters)
        return len(letters)


def retry(run: StoredRun, receiver: str, patience: float = 30.0) -> Retried:
    """Deliver the refused events again; accepted ones are no longer dead letters.

    Raises:
        ConfigError: The receiver has none, or the job does not name it.
        WorkspaceError: A process that does not deliver uses the workspace.
    """
    if server_of(run.folder) is not None:
        with _owner(run, receiver, write=False) as (node, id_, _):
            pass
        answer = ask(run, node, Retry(id_, patience))
        if answer is not None:
            return Retried(answer.count, answer.refused, answer.reason)
    with run.locked(), _owner(run, receiver) as (node, id_, ledger):
        known = receivers_of(run).get(node, {})
        if id_ not in known:
            raise ConfigError(f"The job does not name a receiver {receiver!r}; its dead letters can only be dropped.")
        sites = tuple(run.sites()) if node == SERVER else (node,)
        result = run.result
        status = result.status if result else "aborted"
        return try_again(id_, known[id_], ledger, run.info(node, sites), status, patience)


@contextmanager
def _owner(run: StoredRun, receiver: str, *, write: bool = True) -> Iterator[tuple[str, str, Ledger]]:
    """Yield the node that hosts a receiver, the receiver's id there, and the ledger with its dead letters."""
    node, id_ = split_label(receiver)
    with run.stores(node, write=write) as (_, ledger):
        if not ledger.dead_letters(id_):
            owners = sorted({item.receiver for item in list_dead(run)})
            raise ConfigError(
                f"The receiver {receiver!r} has no dead letters; those that have some: {', '.join(owners) or 'none'}."
            )
        yield node, id_, ledger
