"""SiteWork: what the server's task records say about each site's part in one task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fedtrack.tracking.records import TaskRecord


class Part(NamedTuple):
    """One site's part in a task.

    Attributes:
        asked_ns: When the server gave it the task.
        answered_ns: When the server had the answer; 0 if there is none.
        sent: Bytes to the site.
        received: Bytes from the site.
        weight: The weight of its result; NaN without one.
        seconds: How long it worked; NaN if that is not known.
        error: Why it has no valid answer, or "".
        metrics: The metrics that it returned.
    """

    asked_ns: int
    answered_ns: int = 0
    sent: int = 0
    received: int = 0
    weight: float = math.nan
    seconds: float = math.nan
    error: str = ""
    metrics: Mapping[str, float] = {}

    @property
    def is_valid(self) -> bool:
        """Whether the site has given a valid answer."""
        return bool(self.answered_ns) and not self.error


class Durations(NamedTuple):
    """Where a site's time in a round went, in seconds; NaN where that is not known."""

    training: float
    transfer: float
    waiting: float


def parts_of(record: TaskRecord) -> Iterator[tuple[str, Part]]:
    """Yield the sites of a task record and their parts; columns that are empty or too short have no facts."""
    whole = len(record.answered_ns) == len(record.sites) == len(record.weights) == len(record.seconds)
    whole = whole and len(record.sent) == len(record.received) == len(record.sites)
    for index, site in enumerate(record.sites):
        asked = record.asked_ns[index] if index < len(record.asked_ns) else 0
        if not whole:
            yield site, Part(asked)
            continue
        returned = {
            key: value
            for key, values in record.metrics.items()
            if index < len(values) and (value := values[index]) is not None
        }
        yield (
            site,
            Part(
                asked,
                record.answered_ns[index],
                record.sent[index],
                record.received[index],
                record.weights[index],
                record.seconds[index],
                record.errors.get(site, ""),
                returned,
            ),
        )


def durations(parts: Mapping[str, Part]) -> dict[str, Durations]:
    """Return where the time of each site with an answer went.

    A site *waits* from its own answer to the last one. Its *transfer* is the time between question and answer in which
    its script did not have the model.
    """
    last = max((part.answered_ns for part in parts.values()), default=0)
    found: dict[str, Durations] = {}
    for site, part in parts.items():
        if part.answered_ns:
            away = (part.answered_ns - part.asked_ns) / 1e9
            transfer = math.nan if math.isnan(part.seconds) else max(0.0, away - part.seconds)
            found[site] = Durations(part.seconds, transfer, (last - part.answered_ns) / 1e9)
    return found
