"""TaskReport: what the server asked sites for in one task, and what came back, as control records of the server."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from time import time_ns
from typing import NamedTuple

from fedtrack.client import FLModel
from fedtrack.errors import ModelError
from fedtrack.tracking.records import TaskRecord, encode
from fedtrack_local.averaging.aggregator import weight_of
from fedtrack_local.workflows.workflow import Answer, GroupAnswer, Task

log = logging.getLogger(__name__)

#: Sites in one record. A frame holds 1 MiB, and a record with one metric has about 70 bytes for each site.
_MOST_SITES = 1000
_MOST_BYTES = 1024 * 1024
#: The most characters of a site's error; the summary has all of them.
_MOST_ERROR = 300


class _Came(NamedTuple):
    """One site's answer."""

    asked_ns: int
    answered_ns: int
    received: int
    weight: float
    seconds: float
    metrics: Mapping[str, float]


class TaskReport:
    """Collects the answers of one task.

    Args:
        task: The task.
        sites: The sites that are asked.
        forwarded: The streams' records go to the server's journal, so that ``ends`` can be waited for.
    """

    def __init__(self, task: Task, sites: Sequence[str], *, forwarded: bool = True) -> None:
        self._task = task
        self._sites = tuple(sites)
        self._forwarded = forwarded
        self._asked_ns = time_ns()
        self._asked_later: dict[str, int] = {}
        self._sent = sum(int(array.nbytes) for array in task.params.values()) if task.params else 0
        self._came: dict[str, _Came] = {}
        self._ends: dict[str, int] = {}

    def begun(self) -> Iterator[TaskRecord]:
        """Yield the records that say who is asked."""
        for start in range(0, len(self._sites), _MOST_SITES):
            sites = self._sites[start : start + _MOST_SITES]
            asked = (self._asked_ns,) * len(sites)
            yield TaskRecord(time_ns(), *self._head, sites, asked, (), (), (), (), (), {}, {}, {})

    def ask(self, site: str) -> Iterator[TaskRecord]:
        """Yield the record that says that one more site is asked, now; nothing if it was before."""
        if site not in self._sites:
            self._sites += (site,)
            now = self._asked_later[site] = time_ns()
            yield TaskRecord(now, *self._head, (site,), (now,), (), (), (), (), (), {}, {}, {})

    def take(self, answer: Answer | GroupAnswer) -> None:
        """Note the answer of a site or of a group."""
        share = answer.size // max(1, len(answer.models))
        for site, model in answer.models.items():
            asked = answer.asked_ns or self._asked_at(site)
            seconds = answer.seconds_of(site)
            self._came[site] = _Came(
                asked, answer.answered_ns or time_ns(), share, _weight(model), seconds, model.metrics or {}
            )
        if self._forwarded:
            for stream, last in answer.ends.items():
                self._ends[stream] = max(last, self._ends.get(stream, 0))

    def ended(self, failed: Mapping[str, Exception]) -> Iterator[TaskRecord]:
        """Yield the records that say what came back.

        Args:
            failed: The errors of the run's failed sites.
        """
        errors = {site: str(failed[site])[:_MOST_ERROR] for site in self._sites if site in failed}
        for start in range(0, len(self._sites), _MOST_SITES):
            yield from self._fitting(self._sites[start : start + _MOST_SITES], errors)

    def rejected(self, site: str, error: Exception) -> Iterator[TaskRecord]:
        """Yield the record that takes back a site's answer."""
        if site in self._sites:
            yield from self._fitting((site,), {site: str(error)[:_MOST_ERROR]})

    def _asked_at(self, site: str) -> int:
        return self._asked_later.get(site, self._asked_ns)

    @property
    def _head(self) -> tuple[str, int | None, int | None]:
        task = self._task
        return task.name, task.current_round, task.current_round if task.step is None else task.step

    def _fitting(self, sites: tuple[str, ...], errors: Mapping[str, str]) -> Iterator[TaskRecord]:
        """Yield a record about ``sites``, or several if one would be larger than a frame."""
        record = self._record(sites, errors)
        if len(encode(record)) < _MOST_BYTES:
            yield record
        elif len(sites) > 1:
            half = len(sites) // 2
            yield from self._fitting(sites[:half], errors)
            yield from self._fitting(sites[half:], errors)
        else:
            log.warning("%s: the metrics of its result are too large for the journal, and are left out", sites[0])
            self._came[sites[0]] = self._came[sites[0]]._replace(metrics={})
            yield self._record(sites, errors)

    def _record(self, sites: tuple[str, ...], errors: Mapping[str, str]) -> TaskRecord:
        found = [self._came.get(site) or _Came(self._asked_at(site), 0, 0, math.nan, math.nan, {}) for site in sites]
        keys = dict.fromkeys(key for came in found for key in came.metrics)
        return TaskRecord(
            time_ns(),
            *self._head,
            sites,
            tuple(came.asked_ns for came in found),
            tuple(came.answered_ns for came in found),
            (self._sent,) * len(sites),
            tuple(came.received for came in found),
            tuple(came.weight for came in found),
            tuple(came.seconds for came in found),
            {key: tuple(came.metrics.get(key) for came in found) for key in keys},
            {site: errors[site] for site in sites if site in errors},
            self._ends if len(self._ends) <= len(sites) or sites[0] == self._sites[0] else {},
        )


def _weight(model: FLModel) -> float:
    try:
        return weight_of(model.meta)
    except ModelError:
        return math.nan
