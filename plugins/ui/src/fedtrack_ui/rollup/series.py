"""Series: the points of one metric of one site on their way into buckets.

A bucket holds ``width`` consecutive points: how many, the first, last, smallest and largest value, and the sum. When a
series has more than ``LIMIT`` buckets, each two become one. So a series has 600 to 1,200 buckets however long it is,
no smallest or largest value is ever lost, and the buckets depend on the points alone, not on when they were read.
"""

from __future__ import annotations

import math
import sqlite3

LIMIT = 1200

_BUCKET = """
INSERT INTO bucket (series, i, n, numbers, finite, total, low, high, first, last, step0, step1, time0, time1, round)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
    n = n + excluded.n, numbers = numbers + excluded.numbers, finite = finite + excluded.finite,
    total = total + excluded.total, low = coalesce(min(low, excluded.low), low, excluded.low),
    high = coalesce(max(high, excluded.high), high, excluded.high), last = excluded.last,
    step1 = coalesce(excluded.step1, step1), time1 = excluded.time1
"""
_CELL = """
INSERT INTO cell (series, round, n, numbers, finite, total, low, high, last, time1) VALUES (?,?,?,?,?,?,?,?,?,?)
ON CONFLICT DO UPDATE SET
    n = n + excluded.n, numbers = numbers + excluded.numbers, finite = finite + excluded.finite,
    total = total + excluded.total, low = coalesce(min(low, excluded.low), low, excluded.low),
    high = coalesce(max(high, excluded.high), high, excluded.high), last = excluded.last, time1 = excluded.time1
"""
#: Each two buckets become one, under a negative number until the earlier ones are gone.
_HALVE = """
INSERT INTO bucket (series, i, n, numbers, finite, total, low, high, first, last, step0, step1, time0, time1, round)
SELECT a.series, -1 - a.i / 2, a.n + ifnull(b.n, 0), a.numbers + ifnull(b.numbers, 0), a.finite + ifnull(b.finite, 0),
    a.total + ifnull(b.total, 0), coalesce(min(a.low, b.low), a.low, b.low),
    coalesce(max(a.high, b.high), a.high, b.high), a.first, iif(b.n IS NULL, a.last, b.last),
    coalesce(a.step0, b.step0), coalesce(b.step1, a.step1), a.time0, ifnull(b.time1, a.time1), a.round
FROM bucket a LEFT JOIN bucket b ON b.series = a.series AND b.i = a.i + 1 WHERE a.series = ? AND a.i % 2 = 0
"""


class Series:
    """The part of a series that is not stored yet.

    Attributes:
        id: Its row.
        n: How many points it has, with those that are not stored yet.
        width: How many points a bucket holds.
    """

    __slots__ = ("_at", "_bucket", "_buckets", "_cell", "_cells", "_last", "_round", "id", "n", "width")

    def __init__(self, id_: int, n: int = 0, width: int = 1) -> None:
        self.id, self.n, self.width = id_, n, width
        self._clear()

    def _clear(self) -> None:
        self._buckets: dict[int, list[float | int | None]] = {}
        self._cells: dict[int, list[float | int | None]] = {}
        self._last: tuple[float, int | None, int] | None = None
        self._at, self._round = -1, -2
        self._bucket: list[float | int | None] = []
        self._cell: list[float | int | None] = []

    @property
    def is_full(self) -> bool:
        """Whether the next point needs wider buckets."""
        return self.n >= LIMIT * self.width

    def add(self, value: float, step: int | None, time_ns: int, round_: int | None) -> None:
        """Add a point; ``store`` comes first if the series is full."""
        at = self.n // self.width
        self.n += 1
        if at != self._at:
            self._at = at
            # n, numbers, finite, total, low, high, first, last, step0, step1, time0, time1, round
            self._bucket = [0, 0, 0, 0.0, None, None, value, value, step, step, time_ns, time_ns, round_]
            self._buckets[at] = self._bucket
        number = -1 if round_ is None else round_
        if number != self._round:
            self._round = number
            self._cell = self._cells.setdefault(number, [0, 0, 0, 0.0, None, None, value, time_ns])
        bucket, cell = self._bucket, self._cell
        bucket[7], bucket[11] = value, time_ns
        if step is not None:
            bucket[9] = step
        cell[6], cell[7] = value, time_ns
        _count(bucket, value)
        _count(cell, value)
        self._last = (value, step, time_ns)

    def store(self, database: sqlite3.Connection) -> None:
        """Write what is not stored, and make room for more if the series is full; the caller commits."""
        database.executemany(_BUCKET, [(self.id, i, *found) for i, found in self._buckets.items()])
        database.executemany(_CELL, [(self.id, number, *found) for number, found in self._cells.items()])
        while self.is_full:
            database.execute(_HALVE, (self.id,))
            database.execute("DELETE FROM bucket WHERE series = ? AND i >= 0", (self.id,))
            database.execute("UPDATE bucket SET i = -1 - i WHERE series = ?", (self.id,))
            self.width *= 2
        if self._last is not None:
            database.execute(
                "UPDATE series SET n = ?, width = ?, last = ?, last_step = ?, last_ns = ? WHERE id = ?",
                (self.n, self.width, *self._last, self.id),
            )
        self._clear()


def _count(found: list[float | int | None], value: float) -> None:
    """Add a value to the counts, the sum and the extremes at the start of a bucket or a cell."""
    found[0] += 1  # type: ignore[operator]
    if value != value:
        return
    found[1] += 1  # type: ignore[operator]
    if not math.isinf(value):
        found[2] += 1  # type: ignore[operator]
        found[3] += value  # type: ignore[operator]
    low, high = found[4], found[5]
    if low is None or value < low:
        found[4] = value
    if high is None or value > high:
        found[5] = value
