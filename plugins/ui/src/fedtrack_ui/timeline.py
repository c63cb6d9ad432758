"""Timeline: when each round began and ended, and until when each site was busy in it.

The server's records say when it asked each site and had the answer, when a round ended and how long it took. A run of
another framework has no such records. There a site is busy until its last record in a round, by its own clock, and a
round reaches from the first to the last record of any site.
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
        work: From when to when each site was busy, nanoseconds since the epoch, by round.
        seconds: For how many seconds each site was busy, by round.
        usual: The median of each site's seconds.
        is_asked: Whether the server's records say so, and not what the sites logged.
    """

    rounds: list[Round]
    spans: dict[str, dict[int, reading.Span]]
    shared: bool
    work: list[dict[str, tuple[int, int]]]
    seconds: list[dict[str, float]]
    usual: dict[str, float | None]
    is_asked: bool = False

    def waited(self) -> float | None:
        """Return the share of the sites' time that was waiting; None if that cannot be told."""
        if self.shared:
            return None
        waiting = whole = 0.0
        for one, busy in zip(self.rounds, self.seconds, strict=True):
            if one.ended:
                waiting += sum(max(0.0, one.seconds - took) for took in busy.values())
                whole += one.seconds * len(busy)
        return waiting / whole if whole else None

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
    last = max([*numbers, *ends, *averaged, *reading.tasks(database)], default=-1)
    rounds = [
        _round(number, spans, ends.get(number), averaged.get(number), over=result is not None)
        for number in range(last + 1)
    ]
    asked = reading.tasks(database)
    rounds = [one._replace(sites=one.sites | asked.get(number, {}).keys()) for number, one in enumerate(rounds)]
    return timed(rounds, spans, asked, shared=sites > SITES_WITH_PROCESSES)


def timed(
    rounds: list[Round],
    spans: dict[str, dict[int, reading.Span]],
    asked: Mapping[int, Mapping[str, reading.AskedSite]],
    *,
    shared: bool,
) -> Timeline:
    """Return the timeline of rounds: who was busy for how long, and who ended last.

    Args:
        rounds: The rounds.
        spans: When each site logged, by site and round.
        asked: What the server asked of each site, by round.
        shared: Whether processes work for many sites.
    """
    work: list[dict[str, tuple[int, int]]] = [{} for _ in rounds]
    for site, by in spans.items():
        for number, span in by.items():
            if 0 <= number < len(rounds) and site in rounds[number].sites:
                work[number][site] = (span.time0 if shared else rounds[number].start), span.time1
    seconds = [{site: max(0.0, (end - start) / 1e9) for site, (start, end) in by.items()} for by in work]
    for number, by_site in asked.items():
        for site, one in by_site.items():
            if one.answered_ns:
                work[number][site] = one.asked_ns, one.answered_ns
                took = one.seconds if shared else None
                seconds[number][site] = (one.answered_ns - one.asked_ns) / 1e9 if took is None else took
    by_site_seconds: dict[str, list[float]] = {}
    for found in seconds:
        for site, busy in found.items():
            by_site_seconds.setdefault(site, []).append(busy)
    usual = {site: median(found) for site, found in by_site_seconds.items()}
    done = [_with_last(one, by) for one, by in zip(rounds, work, strict=True)]
    return Timeline(done, spans, shared, work, seconds, usual, bool(asked))


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


def _with_last(one: Round, work: Mapping[str, tuple[int, int]]) -> Round:
    """Return a round with the site that was busy longest, and its distance to the next one."""
    last = second = 0
    who = ""
    for site, (_, end) in work.items():
        if end > last:
            last, second, who = end, last, site
        elif end > second:
            second = end
    return one._replace(last=who, lead=(last - second) / 1e9 if second else 0.0)
