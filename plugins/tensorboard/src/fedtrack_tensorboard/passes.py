"""Decides which pass of a site a point belongs to, so that steps only ever ascend within a TensorBoard run.

TensorBoard's data server takes a step that does not ascend for a restart: it forgets every point of that tag
from that step on. So such a point goes to another pass, which is another run. Each point goes to the pass whose
last step is the greatest below its own, the newest of equals: a script that counts from 0 again in each round
gets one pass per round, a straggler does not split the curve that it is late for, and no rule needs fewer passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["scalar", "text", "image", "histogram", "param", "tag"]

#: Kinds of which the latest value counts: they keep one place and replace it.
_REPLACED: tuple[Kind, ...] = ("param", "tag")

_LAST_STEP = 2**63 - 1


@dataclass(slots=True)
class _Series:
    kind: Kind
    last: int


class Passes:
    """Where the tags of one site stand, pass by pass, counted from 0."""

    def __init__(self) -> None:
        self._series: dict[str, list[_Series | None]] = {}

    def next_step(self, tag: str) -> int:
        """Return the step of a point that was logged without one: one more than the tag's greatest so far."""
        lasts = [series.last for series in self._series.get(tag, ()) if series is not None]
        return min(max(lasts) + 1, _LAST_STEP) if lasts else 0

    def choose(self, tag: str, kind: Kind, step: int) -> int:
        """Return the pass for a point; call ``add`` when it is going to be written."""
        found = -1
        greatest = step
        passes = self._series.get(tag, ())
        for index, series in enumerate(passes):
            if series is None or series.kind != kind:
                continue  # a TensorBoard run shows a tag as what it was at first
            if kind in _REPLACED:
                return index
            if series.last < step and (found < 0 or series.last >= greatest):
                found, greatest = index, series.last
        return len(passes) if found < 0 else found

    def add(self, tag: str, kind: Kind, step: int, index: int) -> None:
        """Take note of a point in a pass."""
        passes = self._series.setdefault(tag, [])
        while len(passes) <= index:
            passes.append(None)
        passes[index] = _Series(kind, step)
