"""Each metric is one point, at the site's time. If it has no step, its point gets one that only depends on it."""

from __future__ import annotations

import math

from fedtrack.tracking.records import Metric
from fedtrack_mlflow import points

STARTED_MS = 1_700_000_000_000


def test_time_is_the_sites_in_milliseconds_and_a_step_is_kept() -> None:
    point = points.point(Metric(1_700_000_001_234_567_890, "loss", 0.5, -7), "loss", STARTED_MS)
    assert (point.key, point.value, point.timestamp, point.step) == ("loss", 0.5, 1_700_000_001_234, -7)


def test_two_calls_in_one_millisecond_are_two_points_and_the_later_one_has_the_greater_step() -> None:
    records = [Metric(1_700_000_001_000_000_000 + 1_000 * i, "lr", 0.1) for i in range(1000)]
    converted = [points.point(record, "lr", STARTED_MS) for record in records]
    assert len({point.timestamp for point in converted}) == 1
    assert [point.step for point in converted] == list(range(1_000_000, 1_001_000))
    assert len(points.distinct(converted)) == 1000
    assert all(points.is_stepless(point, STARTED_MS) for point in converted)


def test_a_given_step_is_not_taken_for_a_missing_one() -> None:
    point = points.point(Metric(1_700_000_001_000_000_000, "loss", 0.5, 3), "loss", STARTED_MS)
    assert not points.is_stepless(point, STARTED_MS)


def test_a_clock_that_is_wrong_by_decades_does_not_lose_the_metric() -> None:
    point = points.point(Metric(-5, "loss", 0.5), "loss", STARTED_MS)
    assert point.timestamp == 0
    assert point.step < 0


def test_equal_points_count_once_also_if_they_are_nan() -> None:
    at = 1_700_000_001_000_000_000
    values = [math.nan, math.nan, 1.0, 1.0, 2.0]
    converted = [points.point(Metric(at, "loss", value, 1), "loss", STARTED_MS) for value in values]
    assert [str(point.value) for point in points.distinct(converted)] == ["nan", "1.0", "2.0"]
