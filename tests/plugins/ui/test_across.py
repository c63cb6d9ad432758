"""Statistics over sites: exact against numpy, with NaN and infinity told apart from values."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from fedtrack.runs import StoredRun
from fedtrack_ui.across import across, place_of
from fedtrack_ui.rollup.follower import Follower
from fedtrack_ui.rollup.view_file import ViewFile
from support.journaled import JournaledRun, journaled


def viewed(run: JournaledRun) -> ViewFile:
    view = ViewFile(run.folder / "view.db")
    Follower(StoredRun(run.base), view).step(60)
    return view


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_the_statistics_of_a_place_are_those_of_numpy(count: int) -> None:
    values = {f"site-{i}": random.Random(i).gauss(3, 2) for i in range(count)}
    found, numbers = place_of(values), np.array(list(values.values()))
    assert found.n == count
    assert [found.mean, found.min, found.max] == pytest.approx([numbers.mean(), numbers.min(), numbers.max()])
    assert [found.p10, found.p50, found.p90] == pytest.approx(list(np.quantile(numbers, [0.1, 0.5, 0.9])))
    assert values[found.lowest] == found.min
    assert values[found.highest] == found.max


def test_values_that_are_not_finite_are_named_and_no_part_of_the_statistics(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        for site, value in (("site-1", 1.0), ("site-2", math.nan), ("site-3", math.inf), ("site-10", 3.0)):
            run.log_values(site, "loss", [value], 0)
        view = viewed(run)
        found = across(view.database, "loss")
        view.close()
    assert list(found.sites) == ["site-1", "site-2", "site-3", "site-10"]
    assert (found.places[0].n, found.places[0].mean, found.places[0].highest) == (2, 2.0, "site-10")
    assert [(at, site) for at, site, _ in found.odd] == [(0, "site-2"), (0, "site-3")]


def test_the_value_of_a_round_is_the_last_one_and_a_hole_stays_a_hole(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log_values("site-1", "loss", [3.0, 2.0], 0)
        run.log_values("site-1", "loss", [1.0], 2)
        run.log_values("server", "loss", [9.0], 0)
        run.log_values("server", "loss", [8.0])
        view = viewed(run)
        found = across(view.database, "loss", rounds=4)
        view.close()
    assert found.sites == {"site-1": [2.0, None, 1.0, None]}
    assert [place.n for place in found.places] == [1, 0, 1, 0]
    assert found.server == [9.0, None, None, None]
    assert found.final == 8.0


def test_a_run_without_rounds_is_shown_by_step(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log_values("site-1", "loss", [3.0, 2.0, 1.0])
        run.log_values("site-2", "loss", [5.0, 4.0])
        view = viewed(run)
        found = across(view.database, "loss")
        view.close()
    assert (found.axis, found.x) == ("step", [0, 1, 2])
    assert found.sites == {"site-1": [3.0, 2.0, 1.0], "site-2": [5.0, 4.0, None]}


def test_many_steps_become_few_places(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log_values("site-1", "loss", [float(i) for i in range(5000)])
        view = viewed(run)
        found = across(view.database, "loss", "step")
        view.close()
    assert len(found.x) == 200
    assert found.x[-1] == 4999
    assert found.sites["site-1"][-1] == 4999.0
