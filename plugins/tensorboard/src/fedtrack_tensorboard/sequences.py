"""Sequences: sets of sequence numbers that need little memory if the numbers are nearly consecutive."""

from __future__ import annotations

from bisect import bisect_right


class SequenceSet:
    """Sequence numbers, kept as disjoint half-open intervals in ascending order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __contains__(self, seq: int) -> bool:
        index = bisect_right(self._starts, seq) - 1
        return index >= 0 and seq < self._ends[index]

    def add(self, seq: int) -> None:
        """Add one number; adding it again changes nothing."""
        starts, ends = self._starts, self._ends
        after = bisect_right(starts, seq)
        before = after - 1
        if after and seq < ends[before]:
            return
        joins_before = after > 0 and ends[before] == seq
        joins_after = after < len(starts) and starts[after] == seq + 1
        if joins_before and joins_after:
            ends[before] = ends.pop(after)
            del starts[after]
        elif joins_before:
            ends[before] = seq + 1
        elif joins_after:
            starts[after] = seq
        else:
            starts.insert(after, seq)
            ends.insert(after, seq + 1)
