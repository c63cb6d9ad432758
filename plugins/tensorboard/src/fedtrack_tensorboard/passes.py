"""Passes: the points of a site are divided into passes, so that steps always ascend within a TensorBoard run.

If a step does not ascend, TensorBoard's data server assumes a restart and forgets every point of that tag from that
step on. Two rules keep every point:

* A step that repeats the one before it, such as a round's number that is logged with each batch, comes next in the
  same run: TensorBoard shows it one step later.
* A step that goes back goes to another pass, which is another run. Each point goes to the pass with the greatest last
  step below its own; of equal ones, to the newest. A script that counts from 0 again in each round gets one pass per
  round, and a late point does not split its curve. After ``MOST`` passes such points come next in the last pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["scalar", "text", "image", "histogram", "param", "tag"]

#: The most passes of a site: one that never logs ascending steps must not fill the disk with folders.
MOST = 1000

#: Kinds of which only the latest value counts: each value replaces the one before, in the same pass.
_REPLACED: tuple[Kind, ...] = ("param", "tag")

_LAST_STEP = 2**63 - 1


class Place(NamedTuple):
    """The place of a point.

    Attributes:
        number: The pass, counted from 0.
        step: The step in the event file.
        repeats: Whether the script gave the step that it had given for the point before.
    """

    number: int
    step: int
    repeats: bool = False


@dataclass(slots=True)
class _Series:
    kind: Kind
    last: int  # in the event file
    given: int  # by the script


class Passes:
    """The last steps of the tags of one site, for each pass, counted from 0."""

    def __init__(self) -> None:
        self._series: dict[str, list[_Series | None]] = {}
        self._latest: dict[str, int] = {}

    def next_step(self, tag: str) -> int:
        """Return the step for a point that was logged without one: one more than the tag's greatest step so far."""
        lasts = [series.last for series in self._series.get(tag, ()) if series is not None]
        return min(max(lasts) + 1, _LAST_STEP) if lasts else 0

    def choose(self, tag: str, kind: Kind, step: int) -> Place:
        """Return the place of a point; call ``add`` if the point will be written."""
        passes = self._series.get(tag, [])
        if kind in _REPLACED:
            same = (index for index, series in enumerate(passes) if series is not None and series.kind == kind)
            return Place(next(same, len(passes)), step)
        newest = self._latest.get(tag, -1)
        series = passes[newest] if 0 <= newest < len(passes) else None
        if series is not None and series.kind == kind and series.given == step and series.last < _LAST_STEP:
            return Place(newest, series.last + 1, repeats=True)
        found = -1
        greatest = step
        for index, series in enumerate(passes):
            if series is None or series.kind != kind:
                continue  # a TensorBoard run shows all points of a tag as the kind of the first one
            if series.given < step and series.last < _LAST_STEP and (found < 0 or series.given >= greatest):
                found, greatest = index, series.given
        if found < 0 and len(passes) >= MOST:
            found = _last_of(passes, kind)
        if found < 0:
            return Place(len(passes), step)
        reached = passes[found]
        return Place(found, step if reached is None else max(step, min(reached.last + 1, _LAST_STEP)))

    def add(self, tag: str, kind: Kind, step: int, index: int, given: int | None = None) -> None:
        """Record that a point is in a pass, at ``step``; ``given`` is the script's own step if that differs."""
        passes = self._series.setdefault(tag, [])
        while len(passes) <= index:
            passes.append(None)
        passes[index] = _Series(kind, step, step if given is None else given)
        self._latest[tag] = index


def _last_of(passes: list[_Series | None], kind: Kind) -> int:
    matching = [index for index, series in enumerate(passes) if series is not None and series.kind == kind]
    return matching[-1] if matching else -1
