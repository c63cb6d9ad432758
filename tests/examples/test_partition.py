"""Every sample goes to exactly one site, no site goes without, and the seed decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError
from fedtrack_examples.partition import Method, partition
from fedtrack_examples.split import stratified_split

targets_and_sites = st.lists(st.integers(0, 9), min_size=1, max_size=120).flatmap(
    lambda targets: st.tuples(st.just(targets), st.integers(1, len(targets)))
)


@settings(deadline=None)
@given(
    data=targets_and_sites,
    method=st.sampled_from(["iid", "dirichlet"]),
    alpha=st.floats(1e-3, 1e3),
    seed=st.integers(0, 2**32),
)
def test_every_sample_has_one_site_and_every_site_a_sample(
    data: tuple[list[int], int], method: Method, alpha: float, seed: int
) -> None:
    targets, n_sites = data
    parts = partition(targets, n_sites, method, alpha, seed)
    assert len(parts) == n_sites
    assert all(len(part) > 0 for part in parts)
    assert all((np.diff(part) > 0).all() for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(targets)))


@pytest.mark.parametrize("method", ["iid", "dirichlet"])
def test_the_seed_decides(method: Method) -> None:
    targets = np.arange(300) % 10

    def dealt(seed: int) -> list[list[int]]:
        return [part.tolist() for part in partition(targets, 3, method, seed=seed)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)


def test_iid_parts_are_of_equal_size() -> None:
    assert [len(part) for part in partition([0] * 11, 3)] == [4, 4, 3]


def test_a_small_alpha_makes_sites_differ_more() -> None:
    targets = np.arange(1000) % 10

    def largest_share(alpha: float) -> float:
        """Return how much of a class the site that has most of it has, on average over classes."""
        parts = partition(targets, 4, "dirichlet", alpha, seed=3)
        counts = np.array([np.bincount(targets[part], minlength=10) for part in parts])
        return float((counts.max(axis=0) / counts.sum(axis=0)).mean())

    assert largest_share(1000.0) < 0.3 < 0.8 < largest_share(0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_sites": 4}, "Cannot deal 3 samples out to 4 sites"),
        ({"n_sites": 0}, "to 0 sites"),
        ({"n_sites": 2, "method": "dirichlet", "alpha": 0.0}, r"alpha is 0\.0"),
        ({"n_sites": 2, "method": "dirichlet", "alpha": float("inf")}, "alpha is inf"),
        ({"n_sites": 2, "seed": -1}, "seed -1 is negative"),
        ({"n_sites": 2, "method": "equal"}, "valid are 'iid' and 'dirichlet'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        partition([0, 1, 2], **arguments)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=9, max_size=80))
def test_the_split_takes_a_fifth_of_every_class(targets: list[int]) -> None:
    train, test = stratified_split(targets)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(targets)))
    for label in set(targets):
        members, tested = targets.count(label), sum(targets[i] == label for i in test)
        assert tested == (max(1, round(members * 0.2)) if members > 1 else 0)


def test_a_split_without_a_test_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 samples leave no test set"):
        stratified_split([0, 1])
