"""Messages between the process that delivers from a journal and one that asks something of it."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from fedtrack.delivery.report import ReceiverTally


class Replay(msgspec.Struct, tag="replay"):
    """Deliver the events that receivers lack, now.

    Attributes:
        other: Name and arguments of a receiver that gets all events, instead of those of the node; None for those.
        again: Whether to begin at the first event.
        patience: Seconds without any progress after which a receiver is left behind.
    """

    other: tuple[str, dict[str, Any]] | None = None
    again: bool = False
    patience: float = 30.0


class Retry(msgspec.Struct, tag="retry"):
    """Deliver a receiver's dead letters again.

    Attributes:
        receiver: The receiver's id on this node.
        patience: See ``Replay``.
    """

    receiver: str
    patience: float = 30.0


class Drop(msgspec.Struct, tag="drop"):
    """Drop a receiver's dead letters.

    Attributes:
        receiver: The receiver's id on this node.
    """

    receiver: str


class Prune(msgspec.Struct, tag="prune"):
    """Delete events that every receiver has.

    Attributes:
        older_than_days: Days since their arrival in the journal.
    """

    older_than_days: float


Errand: TypeAlias = Replay | Retry | Drop | Prune


class Answer(msgspec.Struct):
    """The result of an errand; each kind of errand fills the fields that it has something for.

    Attributes:
        error: Why the errand was not done, as one sentence; "" if it was done.
        reports: The reports about receivers.
        new: How many events each of these took meanwhile, by id.
        journaled: Events in the journal, by site.
        gaps: Lost ranges: (site, reason).
        count: How many events were dropped or deleted, or how many dead letters were delivered.
        refused: How many dead letters were not delivered.
        reason: Why they were not.
    """

    error: str = ""
    reports: list[ReceiverTally] = []
    new: dict[str, int] = {}
    journaled: dict[str, int] = {}
    gaps: list[tuple[str, str]] = []
    count: int = 0
    refused: int = 0
    reason: str = ""
