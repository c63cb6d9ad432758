"""Second try: a receiver's dead letters are delivered again, from a temporary journal that has nothing else."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from fedtrack.delivery.deliverer.supervisor import Supervisor
from fedtrack.delivery.ledger import LEDGER_FILE, DeadLetter, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.tracking.receiver import Receiver, RunInfo


class Retried(NamedTuple):
    """The result of a retry: how many dead letters the receiver took, how many it did not, and why."""

    delivered: int
    refused: int
    error: str = ""


def try_again(id_: str, receiver: Receiver, ledger: Ledger, info: RunInfo, status: str, patience: float) -> Retried:
    """Deliver the dead letters of a receiver; those that it takes are removed from the ledger.

    Args:
        id_: The receiver component's id.
        receiver: The receiver. No other process has it open.
        ledger: The ledger with its dead letters.
        info: The run.
        status: The status with which the receiver is closed.
        patience: Seconds without progress after which the receiver is left behind.
    """
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
