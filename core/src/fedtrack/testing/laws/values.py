"""Laws about values: the backend shows the values, steps, times and keys that a site logged."""

from __future__ import annotations

import math

import pytest

from fedtrack.testing.laws.delivery import float_of
from fedtrack.testing.laws.laws import TIME_NS, TIME_STEP_NS, Laws, batch, series
from fedtrack.tracking.normalise import MAX_KEY_BYTES
from fedtrack.tracking.records import Metric

#: Keys that backends refuse, confuse, interpret or take for paths; all of them legal for a script.
HOSTILE_KEYS = (
    "acc@5%",
    "a/b",
    "a_b",
    "a%2Fb",
    "a~002Fb",
    "../../x",
    "/etc/passwd",
    "a//b/",
    ".",
    "..",
    "CON",
    " ",
    "Genauigkeit-äöü-精度-🎯",
    "nul\0byte",
    "line\nbreak\ttab",
    "back\\slash",
    "<img src=x onerror=alert(1)>",
    "[link](javascript:alert(1))",
    "\x1b]0;title\x07",
    "\u202egnp.exe",
    "loss, train [%] (mean) = \"x\" | 'y' * ; # ? :",
    "k" * 200,
    "%" * 200,
)

#: Values from this magnitude on count as infinite: MLflow stores infinity as the largest float64, float32 holds less.
_LARGE = 3.4e38


class ValueLaws(Laws):
    """Values, steps, times and keys arrive as they were logged."""

    def test_steps_are_the_sites(self) -> None:
        """The script's steps are shown in the script's unit, even if they are large or some are missing."""
        self.needs(Metric)
        steps = [0, 1, 7, 8, 1_000_000, 2**31 + 5]
        self.deliver(batch([Metric(TIME_NS + i * TIME_STEP_NS, "loss", i / 2, s) for i, s in enumerate(steps)]))
        assert [s.step for s in self.stored(key="loss")] == steps

    def test_wall_time_is_the_sites(self) -> None:
        """The backend shows when the site logged a point, not when the receiver got it."""
        self.needs(Metric)
        if self.time_resolution_ns is None:
            pytest.skip("the contract declares that the backend keeps no wall time")
        points = series("loss", [0.5, 1.5, 2.5])
        self.deliver(batch(points))
        for point, found in zip(points, self.stored(key="loss"), strict=True):
            assert found.time_ns is not None, "no wall time; declare time_resolution_ns = None if there is none"
            assert abs(found.time_ns - point.time_ns) <= self.time_resolution_ns

    def test_steps_that_go_back_are_kept(self) -> None:
        """Local steps may start again in each round; no point is dropped or replaced because of that."""
        self.needs(Metric)
        points = [Metric(TIME_NS + i * TIME_STEP_NS, "loss", i / 2, i % 4) for i in range(12)]
        self.deliver(batch(points[:6]), batch(points[6:], first=6))
        assert sorted(self.values("loss"), key=float_of) == [point.value for point in points]

    def test_points_without_a_step_all_arrive(self) -> None:
        """A script may log without steps; such points do not overwrite each other."""
        self.needs(Metric)
        points = [Metric(TIME_NS + i * TIME_STEP_NS, "loss", i / 2) for i in range(6)]
        self.deliver(batch(points))
        assert sorted(self.values("loss"), key=float_of) == [point.value for point in points]

    def test_values_keep_their_precision(self) -> None:
        """A float64 comes back exactly, or within ``relative_error``."""
        self.needs(Metric)
        values = [0.1, 1 / 3, -2.5e-30, 1e30, 0.0, 16_777_217.0]
        self.deliver(batch(series("loss", values)))
        found = [float_of(value) for value in self.values("loss")]
        assert len(found) == len(values)
        for stored, logged in zip(found, values, strict=True):
            assert abs(stored - logged) <= self.relative_error * abs(logged)

    def test_nan_and_infinities_do_not_break_a_batch(self) -> None:
        """The points around a NaN or an infinity arrive, and it is not shown as an ordinary number."""
        self.needs(Metric)
        values = [1.0, math.nan, 2.0, math.inf, 3.0, -math.inf, 4.0]
        self.deliver(batch(series("loss", values)))
        found = [float_of(value) for value in self.values("loss")]
        assert [shown_as(value) for value in found] == [shown_as(value) for value in values]

    def test_hostile_keys_come_back_as_they_were(self) -> None:
        """A key that the backend refuses is encoded, so that it can be decoded and differs from every other key."""
        self.needs(Metric)
        points = [Metric(TIME_NS + i * TIME_STEP_NS, key, i / 2, i) for i, key in enumerate(HOSTILE_KEYS)]
        self.deliver(batch(points))
        assert {s.key: s.value for s in self.stored()} == {point.key: point.value for point in points}

    def test_the_longest_key_is_kept(self) -> None:
        """Two keys of 1,024 bytes that differ in the last byte are two series, even if the backend allows fewer."""
        self.needs(Metric)
        keys = ["k" * (MAX_KEY_BYTES - 1) + end for end in "ab"]
        self.deliver(batch([Metric(TIME_NS, key, i / 2, 0) for i, key in enumerate(keys)]))
        assert {s.key: s.value for s in self.stored()} == {keys[0]: 0.0, keys[1]: 0.5}


def shown_as(value: float) -> float | str:
    """Return a finite value as it is, and any other by its name: ``nan``, ``inf`` or ``-inf``."""
    if math.isnan(value):
        return "nan"
    if abs(value) >= _LARGE:
        return "inf" if value > 0 else "-inf"
    return value
