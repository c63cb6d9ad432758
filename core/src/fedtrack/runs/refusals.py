"""Refusal: an event that a receiver refused for good, in a form for people."""

from __future__ import annotations

from collections import Counter

import msgspec

from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.ledger import DeadLetter, Ledger
from fedtrack.tracking.records import decode, kind_of


class Refusal(msgspec.Struct):
    """A dead letter.

    Attributes:
        receiver: The receiver that refused it; a site's own receiver is ``<site>/<id>``.
        site: The site that logged it.
        seq: Its number in its stream.
        kind: The kind of record, or ``"unreadable"``.
        key: The name or path.
        reason: The backend's error.
    """

    receiver: str
    site: str
    seq: int
    kind: str
    key: str
    reason: str


def refusals(ledger: Ledger, node: str) -> list[Refusal]:
    """Return the dead letters in the ledger of a node."""
    return [refusal(letter, node) for letter in ledger.dead_letters()]


def refusal(letter: DeadLetter, node: str) -> Refusal:
    """Return a dead letter of a receiver on ``node``, in a form for people."""
    receiver = receiver_label(node, letter.receiver)
    try:
        record = decode(letter.payload)
    except msgspec.DecodeError:
        return Refusal(receiver, letter.site, letter.seq, "unreadable", "", letter.error)
    key = str(getattr(record, "key", getattr(record, "path", "")))
    return Refusal(receiver, letter.site, letter.seq, kind_of(record), key, letter.error)


def kinds_refused(refused: list[Refusal]) -> Counter[tuple[str, str]]:
    """Count dead letters by receiver and reason."""
    return Counter((item.receiver, item.reason) for item in refused)
