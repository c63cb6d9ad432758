"""Engine: the protocol of whatever runs a job."""

from __future__ import annotations

from typing import ClassVar, Protocol


class Engine(Protocol):
    """Runs jobs somewhere.

    Class attributes:
        name: What users type after ``--engine``.
        summary: One line for listings.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
