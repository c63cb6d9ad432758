"""RunData: the data of a run's page that belongs to no single metric."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from fedtrack.runs import RunResult
from fedtrack_ui import answers
from fedtrack_ui.across import Across, across
from fedtrack_ui.departure import Departure, departure
from fedtrack_ui.plain import plain
from fedtrack_ui.quantiles import quantile
from fedtrack_ui.rollup import reading
from fedtrack_ui.run_facts import RunFacts
from fedtrack_ui.standing import SiteStanding, standings
from fedtrack_ui.timeline import Timeline
from fedtrack_ui.words import is_about_the_run

#: More rounds than this are drawn as one bar each, and not as a row of bars for each site.
GANTT_ROUNDS = 120
#: So many values are compared when a departure is looked for.
_COMPARED = 300_000


def run_data(database: sqlite3.Connection, facts: RunFacts, of: int | None) -> dict[str, Any]:
    """Return the data of a run.

    Args:
        database: The view file.
        facts: The run.
        of: How many events the journal has; None if that is not known.
    """
    found = across(database, facts.key, "round", len(facts.times.rounds)) if facts.key else None
    by = standings(found, facts.times, facts.sites, facts.failed) if found else None
    departed = departed_of(database, facts, found)
    said = [
        answers.learning(facts.key, found),
        answers.standing_out(by, departed, low=found is not None and found.low),
        answers.time_spent(facts.times),
    ]
    return {
        "run": _header(facts),
        "progress": {"read": facts.events, "of": of},
        "key": facts.key,
        "metrics": [one._asdict() | {"about_run": is_about_the_run(one.key)} for one in facts.metrics],
        "answers": [answer._asdict() for answer in said],
        "departure": departed._asdict() | {"value": plain(departed.value)} if departed else None,
        "time": time_data(facts.times, facts.sites),
        "sites": [_site(one, facts) for one in by.sites] if by else [{"site": site} for site in facts.sites],
        "params": _params(database),
        "items": reading.items(database),
        "cross": _cross(facts.result),
        "models": models_in(facts.app_server),
    }


def departed_of(database: sqlite3.Connection, facts: RunFacts, found: Across | None) -> Departure | None:
    """Return the clearest departure of all metrics, as far as they are few enough to be compared."""
    every = {facts.key: found} if found else {}
    room = _COMPARED
    for one in facts.metrics:
        room -= one.sites * max(1, len(facts.times.rounds))
        if one.key != facts.key and one.sites and one.rounds and room > 0 and not is_about_the_run(one.key):
            every[one.key] = across(database, one.key, "round", len(facts.times.rounds))
    return departure(every)


def _header(facts: RunFacts) -> dict[str, Any]:
    record = facts.run.record
    return {
        "job": facts.job,
        "run_id": record.run_id if record else "",
        "state": str(facts.state.state),
        "goes_on": facts.state.goes_on,
        "detail": facts.state.detail,
        "remedy": facts.state.remedy,
        "started_ms": facts.started_ns / 1e6,
        "seconds": facts.seconds,
        "rounds": len(facts.times.rounds),
        "sites": len(facts.sites),
        "folder": str(facts.run.base),
    }


def _site(one: SiteStanding, facts: RunFacts) -> dict[str, Any]:
    return {
        "site": one.site,
        "took": one.took,
        "seconds": one.seconds,
        "ratio": None if facts.times.shared else one.ratio,
        "slow": one.is_slow,
        "silent": one.silent,
        "error": one.error,
    }


def time_data(times: Timeline, sites: list[str]) -> dict[str, Any]:
    """Return the rounds: with the spans of each site if these can be drawn, or else with their quantiles."""
    origin = times.rounds[0].start if times.rounds else 0
    rounds = [
        {
            "start": (one.start - origin) / 1e9,
            "end": (one.end - origin) / 1e9,
            "sites": len(one.sites),
            "ended": one.ended,
            "last": one.last,
        }
        for one in times.rounds
    ]
    found: dict[str, Any] = {"shared": times.shared, "waited": times.waited(), "rounds": rounds}
    if not times.shared and len(rounds) <= GANTT_ROUNDS:
        found["spans"] = {
            site: [
                [number, (by[site][0] - origin) / 1e9, (by[site][1] - origin) / 1e9]
                for number, by in enumerate(times.work)
                if site in by
            ]
            for site in sites
        }
        found["asked"] = times.is_asked
        found["took"] = {
            site: [number for number, one in enumerate(times.rounds) if site in one.sites] for site in sites
        }
    else:
        found["spread"] = [_spread(times, number) for number in range(len(rounds))]
    return found


def _spread(times: Timeline, number: int) -> list[Any]:
    """Return the 10th and the 90th percentile of the sites' seconds in a round, and the slowest site with its own."""
    found = sorted((busy, site) for site, busy in times.seconds[number].items())
    if not found:
        return []
    values = [busy for busy, _ in found]
    return [quantile(values, 0.1), quantile(values, 0.9), values[-1], found[-1][1]]


def _params(database: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the parameters, those that differ between sites first."""
    found = []
    for key, by in reading.params(database).items():
        values = {str(value): value for value in by.values()}
        same = len(values) == 1
        found.append({"key": key, "same": same, "value": next(iter(by.values())), "sites": len(by)})
        if not same:
            found[-1]["by"] = by
    return sorted(found, key=lambda one: one["same"])


def _cross(result: RunResult | None) -> dict[str, Any]:
    if result is None:
        return {}
    tables: dict[str, Any] = dict(result.cross_site_tables)
    return tables or ({"": result.cross_site} if result.cross_site else {})


def models_in(folder: Path) -> list[dict[str, Any]]:
    """Return the models that the server kept: name and size in bytes."""
    return [{"name": path.name, "size": path.stat().st_size} for path in sorted(folder.glob("*.safetensors"))]
