"""Dead letters: the events that receivers refused for good; they are retried or dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from fedtrack.delivery.deliverer.supervisor import Supervisor
from fedtrack.delivery.label import split_label
from fedtrack.delivery.ledger import LEDGER_FILE, DeadLetter, Ledger
from fedtrack.errors import ConfigError
from fedtrack.journal.journal import Journal
from fedtrack.runs.refusals import Refusal, refusals
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun
from fedtrack.spool import frames
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo


class Retried(NamedTuple):
    """The result of a retry: how many dead letters the receiver took, how many it did not, and why."""

    delivered: int
    refused: int
    error: str = ""


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
        WorkspaceError: A server uses the workspace.
    """
    with run.locked(), _owner(run, receiver) as (_, id_, ledger):
        letters = ledger.dead_letters(id_)
        ledger.settle(id_, [], dropped=letters)
        return len(letters)


def retry(run: StoredRun, receiver: str, patience: float = 30.0) -> Retried:
    """Deliver the refused events again; accepted ones are no longer dead letters.

    Raises:
        ConfigError: The receiver has none, or the job does not name it.
        WorkspaceError: A server uses the workspace.
    """
    with run.locked(), _owner(run, receiver) as (node, id_, ledger):
        known = receivers_of(run).get(node, {})
        if id_ not in known:
            raise ConfigError(f"The job does not name a receiver {receiver!r}; its dead letters can only be dropped.")
        sites = tuple(run.sites()) if node == SERVER else (node,)
        result = run.result
        status = result.status if result else "aborted"
        return _retry(id_, known[id_], ledger, run.info(node, sites), status, patience)


def _retry(id_: str, receiver: Receiver, ledger: Ledger, info: RunInfo, status: str, patience: float) -> Retried:
    """Deliver a temporary journal that has only the dead letters."""
    letters = ledger.dead_letters(id_)
    streams: defaultdict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        streams[letter.site, letter.stream].append(letter)
    with TemporaryDirectory(prefix="fedtrack-dlq-") as folder:
        again = Journal(Path(folder) / "journal.db")
        again.apply_all((site, stream, _run(stream, part)) for (site, stream), part in streams.items())
        notes = Ledger(Path(folder) / LEDGER_FILE, again)
        supervisor = Supervisor()
        try:
            supervisor.serve(info, {id_: receiver}, again, notes)
            supervisor.drain(status)
            (report,) = supervisor.finish(patience)
        finally:
            supervisor.close()
        refused = {letter[1:4]: letter.error for letter in notes.dead_letters()}
        done = notes.cursor(id_).batch
        notes.close()
        again.close()
    # Batches were numbered in the order of the streams.
    passed = [letter for stream in list(streams.values())[:done] for letter in stream]
    taken = [letter for letter in passed if letter[1:4] not in refused]
    ledger.settle(id_, taken)
    reason = report.error or next(iter(refused.values()), "")
    return Retried(len(taken), len(letters) - len(taken), reason)


def _run(stream: str, letters: list[DeadLetter]) -> frames.FrameRange:
    letters = sorted(letters, key=lambda letter: letter.seq)
    salt = frames.salt_of(stream)
    body = b"".join(frames.frame(letter.seq, letter.payload, salt) for letter in letters)
    return frames.FrameRange(letters[0].seq, letters[-1].seq, len(letters), body)


@contextmanager
def _owner(run: StoredRun, receiver: str) -> Iterator[tuple[str, str, Ledger]]:
    """Yield the node that hosts a receiver, the receiver's id there, and the ledger with its dead letters."""
    node, id_ = split_label(receiver)
    with run.stores(node, write=True) as (_, ledger):
        if not ledger.dead_letters(id_):
            owners = sorted({item.receiver for item in list_dead(run)})
            raise ConfigError(
                f"The receiver {receiver!r} has no dead letters; those that have some: {', '.join(owners) or 'none'}."
            )
        yield node, id_, ledger
