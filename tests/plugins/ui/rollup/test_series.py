"""Series and their buckets: few numbers, and no extreme lost, however the points arrive."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from fedtrack_ui.rollup import reading
from fedtrack_ui.rollup.series import LIMIT, Series
from fedtrack_ui.rollup.view_file import ViewFile


def stored(path: Path, values: list[float], stops: list[int]) -> list[reading.Bucket]:
    """Add the values, store at each stop as a follower of a live run does, and read the buckets back."""
    view = ViewFile(path)
    view.database.execute("INSERT INTO series (id, site, key, n, width) VALUES (1, 's', 'k', 0, 1)")
    series = Series(1)
    for at, value in enumerate(values):
        if series.is_full or at in stops:
            series.store(view.database)
            series = Series(1, series.n, series.width)  # as after a restart
        series.add(value, at * 10, at, None)
    series.store(view.database)
    found = reading.buckets(view.database, "s", "k")
    view.close()
    return found


@pytest.mark.parametrize("count", [1, 7, LIMIT, LIMIT + 1, 3 * LIMIT + 5, 10 * LIMIT + 1])
def test_buckets_are_few_and_hold_every_point(tmp_path: Path, count: int) -> None:
    values = [random.Random(count).gauss(0, 1) for _ in range(count)]
    found = stored(tmp_path / "view.db", values, [])
    width = found[0].n
    assert len(found) <= LIMIT
    assert count < LIMIT or len(found) >= LIMIT // 2
    for i, bucket in enumerate(found):
        part = values[i * width : (i + 1) * width]
        assert (bucket.n, bucket.finite, bucket.nan) == (len(part), len(part), 0)
        assert (bucket.first, bucket.last, bucket.low, bucket.high) == (part[0], part[-1], min(part), max(part))
        assert bucket.mean == pytest.approx(math.fsum(part) / len(part))
        assert (bucket.step0, bucket.step1) == (i * width * 10, (i * width + len(part) - 1) * 10)


def test_buckets_depend_on_the_points_and_not_on_when_they_were_stored(tmp_path: Path) -> None:
    values = [float(i % 97) for i in range(3000)]
    at_once = stored(tmp_path / "a.db", values, [])
    assert stored(tmp_path / "b.db", values, [1, 2, 599, 1199, 1200, 1201, 2399, 2998]) == at_once


def test_nan_and_infinity_are_kept_as_what_they_are(tmp_path: Path) -> None:
    values = [1.0, math.nan, math.inf, -math.inf, 2.0] * LIMIT
    found = stored(tmp_path / "view.db", values, [])
    assert sum(one.nan for one in found) == LIMIT
    assert sum(one.finite for one in found) == 2 * LIMIT
    assert max(one.high for one in found if one.high is not None) == math.inf
    assert min(one.low for one in found if one.low is not None) == -math.inf
    assert {one.mean for one in found if one.mean is not None} <= {1.0, 1.5, 2.0, 4 / 3, 5 / 3}


def test_a_series_of_nan_has_no_extremes(tmp_path: Path) -> None:
    (found,) = stored(tmp_path / "view.db", [math.nan], [])
    assert math.isnan(found.first)
    assert math.isnan(found.last)
    assert (found.low, found.high, found.mean, found.nan) == (None, None, None, 1)
