"""Groups: the sites that are given to a worker together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: The most sites of a group. Large groups leave the server less to add, small ones keep all workers busy to the end.
_MOST_IN_GROUP = 64
_LEAST_GROUPS = 32


@dataclass
class Group:
    """Sites that are given to a worker together.

    Attributes:
        number: Position of the group in the task, counted from 0.
        sites: The sites of the group.
        left: The sites without those at which a worker was late or died too often.
    """

    number: int
    sites: tuple[str, ...]
    left: list[str] = field(default_factory=list)


def groups_of(sites: Sequence[str]) -> Iterator[Group]:
    """Yield the groups of a task's sites; they depend on the sites alone, so that sums over groups always agree."""
    size = min(_MOST_IN_GROUP, max(1, len(sites) // _LEAST_GROUPS))
    for number, start in enumerate(range(0, len(sites), size)):
        group = tuple(sites[start : start + size])
        yield Group(number, group, list(group))
