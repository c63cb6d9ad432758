"""Joining: the messages about which of a site's processes has the tasks."""

from __future__ import annotations

import msgspec


class Joined(msgspec.Struct, tag="joined", forbid_unknown_fields=True):
    """Server to a process of a site: the answer to Join."""


class Taken(msgspec.Struct, tag="taken", forbid_unknown_fields=True):
    """Server to a process of a site: another process has the tasks; ``pid`` is its id."""

    pid: int


class Join(msgspec.Struct, tag="join", forbid_unknown_fields=True):
    """Process of a site to server: the first message of a process that takes part in the tasks.

    Attributes:
        pid: The process.
        rank: Its rank in distributed training. Rank 0 gets and answers the tasks, the others only ask for them.
        world: How many ranks there are, as far as the process knows; 1 if it does not.
    """

    pid: int
    rank: int = 0
    world: int = 1


class Next(msgspec.Struct, tag="next", forbid_unknown_fields=True):
    """Process with a rank above 0 to server: give me the first task whose number is greater than ``after``."""

    after: int


class CommandEnded(msgspec.Struct, tag="command_ended", forbid_unknown_fields=True):
    """Process that started a site's command to server: the command succeeded, but processes that it started go on."""
