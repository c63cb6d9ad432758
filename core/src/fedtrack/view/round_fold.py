"""RoundFold: what has arrived of one round: the sites' values, and the server's records of its task."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fedtrack.tracking.records import TaskRecord
from fedtrack.view.site_values import Value
from fedtrack.view.site_work import Part, parts_of


@dataclass
class RoundFold:
    """One round, or one scoring of a model outside rounds.

    Attributes:
        number: The round, or the step of the scores.
        final: Whether it is a scoring outside rounds.
        first: The id of the first batch that is about it.
        values: By site and metric, what the site logged in it.
        parts: By site, its part in the task; empty where no server says who takes part.
        ends: By stream, the number of the last record that belongs to it.
        ended: When the server's record of all answers was read, in seconds of the view's clock; None before.
        closed: Whether the server has gone on since, so that no answer is taken back any more.
        passed: When the first site was seen in a later round; None before.
    """

    number: int
    final: bool
    first: int
    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    ended: float | None = None
    closed: bool = False
    passed: float | None = None

    def take_task(self, record: TaskRecord, now: float) -> None:
        """Take a task record into account; one that only says who is asked begins the task, perhaps again."""
        self.parts.update(parts_of(record))
        if record.answered_ns:
            self.ended = now
            for stream, last in record.ends.items():
                self.ends[stream] = max(last, self.ends.get(stream, 0))
        else:
            self.ended, self.closed = None, False

    def metrics(self, mode: str) -> dict[str, dict[str, float]]:
        """Return the values by metric and site; what a site returned is its value of the round."""
        found: dict[str, dict[str, float]] = {}
        for site, values in self.values.items():
            for key, value in values.items():
                found.setdefault(key, {})[site] = value.of(mode)
        for site, part in self.parts.items():
            if part.is_valid:
                for key, returned in part.metrics.items():
                    found.setdefault(key, {})[site] = returned
        return found

    def weights(self, key: str) -> dict[str, float]:
        """Return the weight of each site for a metric: the steps of its result, else how often it logged the metric."""
        found = {site: float(values[key].count) for site, values in self.values.items() if key in values}
        weights = {site: part.weight for site, part in self.parts.items() if not math.isnan(part.weight)}
        return found | weights
