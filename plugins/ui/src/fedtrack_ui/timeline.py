"""Timeline: when each round began and ended, and until when each site was busy in it.

The server's own records have a round's end and its seconds. Where there is no such record, as in a run of another
framework, a round reaches from the first to the last record of any site. Sites' times are by their own clocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from fedtrack.runs import RunResult
from fedtrack_ui.quantiles import median
from fedtrack_ui.rollup import reading

#: Above this number a process usually works for many sites, and then a site does not wait for the others.
SITES_WITH_PROCESSES = 24


class Round(NamedTuple):
    """A round.

    Attributes:
        start: Nanoseconds since the epoch.
        end: Likewise; of a round that goes on, the last record.
        sites: The sites that took part.
        ended: Whether it is known to be over.
        last: The site that was busy longest, or "".
        lead: How many seconds after the next site that was.
    """

    start: int
    end: int
    sites: frozenset[str]
    ended: bool
    last: str = ""
    lead: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e9


class Timeline(NamedTuple):
    """The rounds of a run.

    Attributes:
        rounds: Each round, from the first one.
        spans: When each site logged, by site and round.
        shared: Whether processes work for many sites, so that no waiting can be told.
    """

    rounds: list[Round]
    spans: dict[str, dict[int, reading.Span]]
    shared: bool

    def busy(self, site: str, number: int) -> float | None:
        """Return for how many seconds a site was busy in a round; None if it logged nothing."""
        span = self.spans.get(site, {}).get(number)
        if span is None:
            return None
        start = span.time0 if self.shared else self.rounds[number].start
        return max(0.0, (span.time1 - start) / 1e9)

    def usual(self, site: str) -> float | None:
        """Return the median of a site's seconds."""
        return median(self.busy(site, number) for number in range(len(self.rounds)))

    def waited(self) -> float | None:
        """Return the share of the sites' time that was waiting; None if that cannot be told."""
        waiting = whole = 0.0
        for number, one in enumerate(self.rounds):
            for site in one.sites:
                busy = self.busy(site, number)
                if busy is not None and one.ended:
                    waiting += max(0.0, one.seconds - busy)
                    whole += one.seconds
        return None if self.shared or not whole else waiting / whole

    def silent(self, site: str) -> int:
        """Return for how many of the last rounds a site has taken part and logged nothing."""
        count = 0
        for number in range(len(self.rounds) - 1, -1, -1):
            one = self.rounds[number]
            if not one.ended or site not in one.sites:
                if one.ended:
                    break
                continue
            if number in self.spans.get(site, {}):
                break
            count += 1
        return count


def timeline(database: sqlite3.Connection, result: RunResult | None, sites: int) -> Timeline:
    """Return the rounds of a run.

    Args:
        database: The view file.
        result: The run's summary, which names the sites whose results were averaged; None while it runs.
        sites: How many sites the run has.
    """
    spans = {site: by for site, by in reading.spans(database).items() if not site.startswith("@")}
    ends = reading.cells(database, "round/seconds").get("server", {})
    averaged = {one.current_round: one.sites for one in result.rounds} if result else {}
    numbers = [number for site, by in spans.items() for number in by if site != "server"]
    last = max([*numbers, *ends, *averaged], default=-1)
    rounds = [
        _round(number, spans, ends.get(number), averaged.get(number), over=result is not None)
        for number in range(last + 1)
    ]
    shared = sites > SITES_WITH_PROCESSES
    return Timeline([_with_last(one, number, spans) for number, one in enumerate(rounds)], spans, shared)


def _round(
    number: int,
    spans: Mapping[str, Mapping[int, reading.Span]],
    end: reading.Cell | None,
    averaged: list[str] | None,
    *,
    over: bool,
) -> Round:
    logged = {site: by[number] for site, by in spans.items() if site != "server" and number in by}
    sites = frozenset([*logged, *(averaged or ())])
    if end is not None:
        return Round(end.time1 - int(end.last * 1e9), end.time1, sites, ended=True)
    times = logged.values()
    start, stop = min((one.time0 for one in times), default=0), max((one.time1 for one in times), default=0)
    return Round(start, stop, sites, ended=over)


def _with_last(one: Round, number: int, spans: Mapping[str, Mapping[int, reading.Span]]) -> Round:
    ends = sorted((spans[site][number].time1, site) for site in one.sites if number in spans.get(site, {}))
    if not ends:
        return one
    lead = (ends[-1][0] - ends[-2][0]) / 1e9 if len(ends) > 1 else 0.0
    return one._replace(last=ends[-1][1], lead=lead)
