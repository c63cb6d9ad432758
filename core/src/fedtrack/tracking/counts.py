"""Counts: the log calls of a stream that are no event, as the process that made them counts them."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """How many log calls of a stream became no event, and why.

    Attributes:
        dropped: They found no room on the disk, or in the spool's limit.
        withheld: The site's policy keeps them at the site.
        rejected: Their value fits no record. A rejected call is stored, as a record that says so.
    """

    dropped: int = 0
    withheld: int = 0
    rejected: int = 0
