"""Dead letters: the events that receivers refused for good; tried again, or given up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.label import split_label
from fedtrack.errors import ConfigError
from fedtrack.journal.journal import DeadLetter, Journal
from fedtrack.runs.refusals import Refusal, refusals
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.stored_run import StoredRun
from fedtrack.spool import frames
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo


class Retried(NamedTuple):
    """What became of dead letters: how many were taken this time, and how many not, and why not."""

    delivered: int
    refused: int
    error: str = ""


def list_dead(run: StoredRun) -> list[Refusal]:
    """Return a run's dead letters."""
    found = []
    for node in run.journaling_nodes():
        with run.journal(node) as journal:
            found += refusals(journal, node)
    return found


def drop(run: StoredRun, receiver: str) -> int:
    """Forget a receiver's dead letters; return how many. They stay in the journal, and are counted as refused.

    Raises:
        ConfigError: The receiver has none.
        WorkspaceError: A server is in the workspace.
    """
    with run.locked(), _owner(run, receiver) as (_, id_, journal):
        letters = journal.dead_letters(id_)
        journal.settle(id_, [], dropped=letters)
        return len(letters)


def retry(run: StoredRun, receiver: str, patience: float = 30.0) -> Retried:
    """Hand a receiver what it refused once more; what it takes is no dead letter any more.

    Raises:
        ConfigError: The receiver has none, or the job does not name it.
        WorkspaceError: A server is in the workspace.
    """
    with run.locked(), _owner(run, receiver) as (node, id_, journal):
        known = receivers_of(run).get(node, {})
        if id_ not in known:
            raise ConfigError(f"The job does not name a receiver {receiver!r}; its dead letters can only be dropped.")
        sites = tuple(run.sites()) if node == SERVER else (node,)
        result = run.result
        status = result.status if result else "aborted"
        return _retry(id_, known[id_], journal, run.info(node, sites), status, patience)


def _retry(id_: str, receiver: Receiver, journal: Journal, info: RunInfo, status: str, patience: float) -> Retried:
    """Deliver a journal that holds nothing but the dead letters."""
    letters = journal.dead_letters(id_)
    streams: defaultdict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        streams[journal.source_of(letter.batch)].append(letter)
    with TemporaryDirectory(prefix="fedtrack-dlq-") as folder:
        again = Journal(Path(folder) / "journal.db")
        again.apply_all((site, stream, _run(stream, part)) for (site, stream), part in streams.items())
        delivery = Delivery(id_, receiver, again, info)
        delivery.start()
        delivery.drain(status)
        report = delivery.finish(patience)
        # Batches were numbered in the order of the streams.
        batches = dict(enumerate(streams, start=1))
        refused = {(batches[letter.batch], letter.seq): letter for letter in again.dead_letters()}
        done = again.cursor(id_).batch
        again.close()
    taken = [
        letter
        for batch, key in batches.items()
        if batch <= done
        for letter in streams[key]
        if (key, letter.seq) not in refused
    ]
    journal.settle(id_, taken)
    reason = report.error or next((letter.error for letter in refused.values()), "")
    return Retried(len(taken), len(letters) - len(taken), reason)


def _run(stream: str, letters: list[DeadLetter]) -> frames.FrameRange:
    letters = sorted(letters, key=lambda letter: letter.seq)
    salt = frames.salt_of(stream)
    body = b"".join(frames.frame(letter.seq, letter.payload, salt) for letter in letters)
    return frames.FrameRange(letters[0].seq, letters[-1].seq, len(letters), body)


@contextmanager
def _owner(run: StoredRun, receiver: str) -> Iterator[tuple[str, str, Journal]]:
    """Yield the node that hosts a receiver, the receiver's id there, and the journal with its dead letters."""
    node, id_ = split_label(receiver)
    with run.journal(node) as journal:
        if not journal.dead_letters(id_):
            owners = sorted({item.receiver for item in list_dead(run)})
            raise ConfigError(
                f"The receiver {receiver!r} has no dead letters; those that have some: {', '.join(owners) or 'none'}."
            )
        yield node, id_, journal
