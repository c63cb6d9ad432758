"""Suspect: the events with which a receiver's process was ended, as another process has found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Suspect(msgspec.Struct, frozen=True):
    """Events of one call that ended the process, to be handed over in pieces.

    Attributes:
        batch: The id of the batch of the first event.
        seq: The sequence number of the first event.
        events: How many events the call had.
        piece: The most events of one call from now on.
    """

    batch: int
    seq: int
    events: int
    piece: int


class Precautions(msgspec.Struct, frozen=True):
    """How to feed a receiver that has ended its process.

    Attributes:
        suspect: The events to hand over in pieces; None if there are none.
        condemned: The reasons why events become dead letters without another call, as (batch, seq, reason).
        cautious: Whether to begin with one event per call; after each call that succeeds there may be twice as many.
    """

    suspect: Suspect | None = None
    condemned: list[tuple[int, int, str]] = []
    cautious: bool = False

    def reasons(self) -> Mapping[tuple[int, int], str]:
        """Return the reason for each condemned event, by (batch, seq)."""
        return {(batch, seq): reason for batch, seq, reason in self.condemned}

    def cut(self, events: Sequence[T], keys: Sequence[tuple[int, int]], most: int) -> list[Sequence[T]]:
        """Cut the events of one stream into the parts of one call each.

        Args:
            events: The events.
            keys: (batch, seq) of each of them.
            most: The most events of one call.
        """
        suspect = self.suspect
        first = keys.index((suspect.batch, suspect.seq)) if suspect and (suspect.batch, suspect.seq) in keys else None
        if suspect is None or first is None:
            return _slices(events, most)
        last = first + suspect.events
        pieces = _slices(events[first:last], min(most, suspect.piece))
        return [*_slices(events[:first], most), *pieces, *_slices(events[last:], most)]


#: Those for a receiver that has not ended its process.
NO_PRECAUTIONS = Precautions()


def _slices(events: Sequence[T], most: int) -> list[Sequence[T]]:
    return [events[start : start + most] for start in range(0, len(events), most)]
