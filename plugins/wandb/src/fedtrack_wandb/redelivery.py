"""Redelivery: the progress of one stream of one site, so that a record that is delivered again is not added again."""

from __future__ import annotations

from fedtrack import Batch


class Progress:
    """The progress of one stream in this process.

    Attributes:
        refused: W&B's reasons for refused records, by sequence number, until they are reported to delivery.
    """

    def __init__(self) -> None:
        self.refused: dict[int, str] = {}
        self._handed = -1

    def unseen(self, batch: Batch) -> list[int]:
        """Return the positions of the records that were not handed over before."""
        return [position for position, seq in enumerate(batch.seqs) if seq > self._handed]

    def advance(self, batch: Batch, position: int) -> None:
        """Remember that the records up to ``position`` were handed over or refused."""
        self._handed = batch.seqs[position]

    def report(self, batch: Batch) -> dict[int, str]:
        """Return the reasons of refused records of ``batch``, by position, and forget them."""
        positions = {seq: position for position, seq in enumerate(batch.seqs)}
        found = [seq for seq in self.refused if seq in positions]
        return {positions[seq]: self.refused.pop(seq) for seq in found}
