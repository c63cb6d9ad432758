"""A ClientApp is a script on every engine: each site has its index, its state and its own random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fedtrack.tracking.records import Metric
from fedtrack_local.models.params import load_params

from .conftest import Ended, Started, wait


@pytest.fixture(scope="module")
def ended(started: dict[str, Started]) -> Ended:
    return wait(started["functions"])


def values(ended: Ended, site: str, key: str) -> list[float]:
    return [r.value for _, _, r in ended.events[site] if isinstance(r, Metric) and r.key == key]


def test_sites_know_their_number_and_keep_their_state(ended: Ended) -> None:
    assert ended.result.status == "completed"
    for index, name in enumerate(("site-1", "site-2")):
        assert values(ended, name, "index") == [index, index]
        assert values(ended, name, "total") == [2, 2]
        assert values(ended, name, "rounds") == [1, 2]


def test_random_numbers_are_those_of_the_site_and_the_round(ended: Ended) -> None:
    # The same on every engine: they are seeded from the names alone.
    expected = {"site-1": [0.273, 0.133], "site-2": [0.490, 0.868]}
    for name, numbers in expected.items():
        assert values(ended, name, "random") == pytest.approx(numbers, abs=0.001)


def test_results_are_averaged(ended: Ended) -> None:
    model = load_params(ended.result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 3), 3.0, np.float32))
