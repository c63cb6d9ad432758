"""Counts: how many log calls of a stream became no event, as counted by the process that made the calls."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """How many log calls of a stream became no event, and why.

    Attributes:
        dropped: Calls for whose record there was no room on the disk, or under the spool's limit.
        withheld: Calls whose record the site's policy keeps at the site.
        rejected: Calls with a value that no record can hold. Each is stored as a ``Rejected`` record.
    """

    dropped: int = 0
    withheld: int = 0
    rejected: int = 0
