"""Remembers how far one stream of one site has come, so that a redelivery adds nothing twice."""

from __future__ import annotations

from fedtrack import Batch


class Progress:
    """How far one stream has come in this process.

    Attributes:
        refused: Why W&B refused a record, by sequence number, until delivery has been told.
    """

    def __init__(self) -> None:
        self.refused: dict[int, str] = {}
        self._handed = -1

    def unseen(self, batch: Batch) -> list[int]:
        """Return the positions of the records that were never handed over."""
        return [position for position, seq in enumerate(batch.seqs) if seq > self._handed]

    def advance(self, batch: Batch, position: int) -> None:
        """Note that the records up to ``position`` were handed over or refused."""
        self._handed = batch.seqs[position]

    def report(self, batch: Batch) -> dict[int, str]:
        """Return and forget why records of ``batch`` were refused, by position."""
        positions = {seq: position for position, seq in enumerate(batch.seqs)}
        found = [seq for seq in self.refused if seq in positions]
        return {positions[seq]: self.refused.pop(seq) for seq in found}
