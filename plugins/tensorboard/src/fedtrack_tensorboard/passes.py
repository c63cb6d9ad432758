"""Passes: the points of a site are divided into passes, so that steps always ascend within a TensorBoard run.

If a step does not ascend, TensorBoard's data server assumes a restart and forgets every point of that tag from that
step on. So such a point goes to another pass, which is another run. Each point goes to the pass with the greatest last
step below its own; of equal ones, to the newest. A script that counts from 0 again in each round gets one pass per
round, a late point does not split its curve, and no other rule needs fewer passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["scalar", "text", "image", "histogram", "param", "tag"]

#: Kinds of which only the latest value counts: each value replaces the one before, in the same pass.
_REPLACED: tuple[Kind, ...] = ("param", "tag")

_LAST_STEP = 2**63 - 1


@dataclass(slots=True)
class _Series:
    kind: Kind
    last: int


class Passes:
    """The last steps of the tags of one site, for each pass, counted from 0."""

    def __init__(self) -> None:
        self._series: dict[str, list[_Series | None]] = {}

    def next_step(self, tag: str) -> int:
        """Return the step for a point that was logged without one: one more than the tag's greatest step so far."""
        lasts = [series.last for series in self._series.get(tag, ()) if series is not None]
        return min(max(lasts) + 1, _LAST_STEP) if lasts else 0

    def choose(self, tag: str, kind: Kind, step: int) -> int:
        """Return the pass for a point; call ``add`` if the point will be written."""
        found = -1
        greatest = step
        passes = self._series.get(tag, ())
        for index, series in enumerate(passes):
            if series is None or series.kind != kind:
                continue  # a TensorBoard run shows all points of a tag as the kind of the first one
            if kind in _REPLACED:
                return index
            if series.last < step and (found < 0 or series.last >= greatest):
                found, greatest = index, series.last
        return len(passes) if found < 0 else found

    def add(self, tag: str, kind: Kind, step: int, index: int) -> None:
        """Record that a point is in a pass."""
        passes = self._series.setdefault(tag, [])
        while len(passes) <= index:
            passes.append(None)
        passes[index] = _Series(kind, step)
