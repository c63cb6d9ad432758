"""Reading: what a page asks a view file for."""

from __future__ import annotations

import math
import sqlite3
from typing import Any, NamedTuple

import msgspec


class KnownMetric(NamedTuple):
    """A metric, over all sites.

    Attributes:
        key: Its name.
        sites: How many sites log it; the server is none.
        points: How many points they have.
        rounds: Whether it has values that belong to a round.
        streamed: Whether sites log it several times in a round, or without rounds.
        on_server: Whether the server logs it.
    """

    key: str
    sites: int
    points: int
    rounds: bool
    streamed: bool
    on_server: bool


class Cell(NamedTuple):
    """A site's value in a round."""

    last: float
    time1: int


class AskedSite(NamedTuple):
    """What the server asked of a site in a round, and what came back.

    Attributes:
        asked_ns: When it was asked, by the server's clock.
        answered_ns: When the server had the answer; 0 if there is none.
        sent: Bytes of parameters to the site.
        received: Bytes of parameters from it.
        weight: The weight of its result; None if it has none.
        seconds: How long it worked, by its own clock; None if that is not known.
        error: Why it has no valid answer, or "".
    """

    asked_ns: int
    answered_ns: int
    sent: int
    received: int
    weight: float | None
    seconds: float | None
    error: str


class Span(NamedTuple):
    """When a site logged in a round, nanoseconds since the epoch by its own clock, and how many events."""

    time0: int
    time1: int
    n: int


class Bucket(NamedTuple):
    """Consecutive points of a series; values may be NaN or infinite, None is a value that no point has."""

    n: int
    finite: int
    nan: int
    mean: float | None
    low: float | None
    high: float | None
    first: float
    last: float
    step0: int | None
    step1: int | None
    time0: int
    time1: int
    round: int | None


def metrics(database: sqlite3.Connection) -> list[KnownMetric]:
    """Return every metric, by name."""
    rows = database.execute(
        "SELECT key, sum(site != 'server'), sum(CASE WHEN site != 'server' THEN n ELSE 0 END), "
        "max(site = 'server'), max(CASE WHEN site != 'server' THEN id END), max(id) "
        "FROM series WHERE substr(site, 1, 1) != '@' GROUP BY key ORDER BY key"
    ).fetchall()
    found = []
    for key, sites, points, on_server, site_series, any_series in rows:
        series = any_series if site_series is None else site_series
        rounds, most = database.execute(
            "SELECT count(*) FILTER (WHERE round >= 0), coalesce(max(n), 0) FROM cell WHERE series = ?", (series,)
        ).fetchone()
        found.append(KnownMetric(key, sites, points, rounds > 0, bool(sites) and most > 1, bool(on_server)))
    logged = {one.key: one for one in found}
    query = "SELECT key, count(DISTINCT site), count(*) FROM returned GROUP BY key"
    for key, sites, points in database.execute(query).fetchall():
        before = logged.get(key, KnownMetric(key, 0, 0, True, False, False))
        if before.sites < sites:
            logged[key] = before._replace(sites=sites, points=points, rounds=True)
    return sorted(logged.values(), key=lambda one: one.key)


def cells(database: sqlite3.Connection, key: str) -> dict[str, dict[int, Cell]]:
    """Return the value of each site in each round: the last that it logged, else the one that it returned.

    Round -1 holds the values without a round.
    """
    found: dict[str, dict[int, Cell]] = {}
    query = "SELECT site, round, cell.last, time1 FROM series JOIN cell ON series = id WHERE key = ? ORDER BY id, round"
    for site, number, last, time1 in database.execute(query, (key,)):
        found.setdefault(site, {})[number] = Cell(_number(last), time1)
    query = "SELECT site, round, value, time_ns FROM returned WHERE key = ? ORDER BY site, round"
    for site, number, value, time_ns in database.execute(query, (key,)):
        found.setdefault(site, {}).setdefault(number, Cell(_number(value), time_ns))
    return found


def tasks(database: sqlite3.Connection) -> dict[int, dict[str, AskedSite]]:
    """Return what the server asked of each site, by round; nothing for an engine that does not say."""
    found: dict[int, dict[str, AskedSite]] = {}
    for number, site, *asked in database.execute(
        "SELECT round, site, asked_ns, answered_ns, sent, received, weight, seconds, error FROM task"
    ):
        found.setdefault(number, {})[site] = AskedSite(*asked)
    return found


def directions(database: sqlite3.Connection) -> dict[str, bool]:
    """Return whether a smaller value is better, by metric, where a script says so."""
    return {key: better == "lower" for key, better in database.execute("SELECT key, better FROM direction")}


def buckets(database: sqlite3.Connection, site: str, key: str) -> list[Bucket]:
    """Return the buckets of a series, in order."""
    rows = database.execute(
        "SELECT b.n, b.finite, b.n - b.numbers, b.total, b.low, b.high, b.first, b.last, b.step0, b.step1, b.time0, "
        "b.time1, b.round FROM series s JOIN bucket b ON b.series = s.id WHERE s.site = ? AND s.key = ? ORDER BY b.i",
        (site, key),
    )
    return [_bucket(*row) for row in rows]


def _bucket(
    n: int, finite: int, nan: int, total: float, low: Any, high: Any, first: Any, last: Any, *rest: Any
) -> Bucket:
    return Bucket(n, finite, nan, total / finite if finite else None, low, high, _number(first), _number(last), *rest)


def sites_of(database: sqlite3.Connection, key: str) -> list[str]:
    """Return the sites that log a metric, without the server."""
    query = "SELECT site FROM series WHERE key = ? AND site != 'server' ORDER BY length(site), site"
    return [row[0] for row in database.execute(query, (key,))]


def spans(database: sqlite3.Connection) -> dict[str, dict[int, Span]]:
    """Return when each site logged, by round; round -1 holds what was logged without a round."""
    found: dict[str, dict[int, Span]] = {}
    for site, number, *span in database.execute("SELECT site, round, time0, time1, n FROM span"):
        found.setdefault(site, {})[number] = Span(*span)
    return found


def params(database: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Return the parameters and tags by name and site."""
    found: dict[str, dict[str, Any]] = {}
    for site, key, value in database.execute("SELECT site, key, value FROM param ORDER BY key, site"):
        found.setdefault(key, {})[site] = msgspec.json.decode(value)
    return found


def items(database: sqlite3.Connection, limit: int = 400) -> list[dict[str, Any]]:
    """Return the newest images, texts, histograms and files."""
    query = "SELECT id, kind, site, key, step, round, time_ns, size FROM item ORDER BY id DESC LIMIT ?"
    names = ("id", "kind", "site", "key", "step", "round", "time_ns", "size")
    return [dict(zip(names, row, strict=True)) for row in database.execute(query, (limit,))]


def problems(database: sqlite3.Connection) -> list[tuple[str, str, int, str, str]]:
    """Return (site, ``rejected``, count, name, reason) of what could not be logged."""
    return database.execute("SELECT site, kind, n, key, reason FROM problem ORDER BY n DESC").fetchall()


def events(database: sqlite3.Connection) -> int:
    """Return how many events of the journals are in the view file."""
    return int(database.execute("SELECT coalesce(sum(events), 0) FROM cursor").fetchone()[0])


def _number(value: float | None) -> float:
    return math.nan if value is None else value  # SQLite keeps NaN as NULL
