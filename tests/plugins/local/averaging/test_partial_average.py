"""Partial averages: merging groups gives the same result as averaging all sites in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.client.fl_model import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.averaging.aggregator import WeightedAggregator
from fedtrack_local.averaging.partial_average import PartialAverage
from fedtrack_local.models.params import save_params

Results = list[tuple[dict[str, Any], float]]


def model(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "layer/w": rng.normal(size=(3, 5)).astype(np.float32),
        "half": rng.normal(size=7).astype(ml_dtypes.bfloat16),
        "double": rng.normal(size=4),
        "count": np.array(rng.integers(-(2**62), 2**62), np.int64),
        "small": rng.integers(0, 255, size=6).astype(np.uint8),
        "mask": rng.integers(0, 2, size=9).astype(np.bool_),
        "complex": (rng.normal(size=2) + 1j * rng.normal(size=2)).astype(np.complex64),
    }


def in_one_place(reference: dict[str, Any], results: Results) -> dict[str, Any]:
    aggregator = WeightedAggregator(reference)
    for number, (params, weight) in enumerate(results):
        aggregator.accept(f"site-{number}", params, ParamsType.FULL, weight)
    return aggregator.result()


def in_groups(reference: dict[str, Any], results: Results, sizes: list[int], folder: Path) -> dict[str, Any]:
    aggregator = WeightedAggregator(reference)
    for number, size in enumerate(sizes):
        group, results = results[:size], results[size:]
        worker = WeightedAggregator(reference)
        for site, (params, weight) in enumerate(group):
            worker.accept(f"site-{site}", params, ParamsType.FULL, weight)
        worker.partial().save(folder / str(number))
        aggregator.merge(PartialAverage.load(folder / str(number)), f"group {number}")
    assert not results
    return aggregator.result()


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_groups_average_to_what_single_sites_do(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    reference = model(rng)
    results = [(model(rng), float(rng.integers(1, 100))) for _ in range(sum(sizes))]
    folder = tmp_path_factory.mktemp("partial")
    together, apart = in_one_place(reference, results), in_groups(reference, results, sizes, folder)
    assert list(apart) == list(together)
    for name, expected in together.items():
        assert (apart[name].dtype, apart[name].shape) == (expected.dtype, expected.shape)
        if name in ("mask", "small"):
            np.testing.assert_array_equal(apart[name], expected)  # sums of small integers are exact
        elif name == "count":
            # Distances of up to 2**63 from different first values, in float64.
            assert abs(int(apart[name]) - int(expected)) <= 2**63 * 4 * len(results) / 2**53
        else:
            size = 1e-2 if name == "half" else 1e-12 if name == "double" else 1e-5
            np.testing.assert_allclose(apart[name].astype(complex), expected.astype(complex), rtol=size, atol=size)


def test_group_of_one_is_that_site_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    reference, params = model(rng), model(rng)
    found = in_groups(reference, [(params, 3.0)], [1], tmp_path)
    for name, expected in params.items():
        assert found[name].tobytes() == expected.tobytes(), name


def test_agreement_survives_groups_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    reference, params = model(rng), model(rng)
    found = in_groups(reference, [(params, weight) for weight in (1.0, 7.0, 2.0, 5.0)], [2, 2], tmp_path)
    for name, expected in params.items():
        assert found[name].tobytes() == expected.tobytes(), name


def test_majority_is_of_sites_and_not_of_groups(tmp_path: Path) -> None:
    reference = {"mask": np.array([False])}
    yes, no = {"mask": np.array([True])}, {"mask": np.array([False])}
    # Two of three groups say no, but of all sites most say yes.
    results = [(yes, 1.0)] * 5 + [(no, 1.0)] * 2 + [(no, 1.0)] * 2
    assert in_groups(reference, results, [5, 2, 2], tmp_path)["mask"].tolist() == [True]


def test_partial_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="nothing to average"):
        WeightedAggregator({"w": np.zeros(2)}).partial()


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"v": [np.zeros(2, np.float32)]}, "is not of the model of this round"),
        ({"w": [np.zeros(3, np.float32)]}, r"holds float32 \(3,\), expected float32 \(2,\)"),
        ({"w": [np.zeros(2)]}, r"holds float64 \(2,\), expected float32 \(2,\)"),
        ({"w": []}, "holds , expected"),
        ({"w": [np.array([1, np.nan], np.float32)]}, "holds nan"),
    ],
)
def test_partial_that_does_not_fit_is_refused_by_name(tensors: dict[str, Any], reason: str) -> None:
    aggregator = WeightedAggregator({"w": np.zeros(2, np.float32)})
    with pytest.raises(ModelError, match=reason):
        aggregator.merge(PartialAverage(1.0, tensors), "the group of site-1")


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weight_of_a_partial_is_checked(weight: float) -> None:
    aggregator = WeightedAggregator({"w": np.zeros(2, np.float32)})
    with pytest.raises(ModelError, match="group of site-1: the weight of the partial average"):
        aggregator.merge(PartialAverage(weight, {"w": [np.zeros(2, np.float32)]}), "the group of site-1")


def test_model_file_is_no_partial_average(tmp_path: Path) -> None:
    save_params({"0/w": np.zeros(2)}, tmp_path / "model")
    with pytest.raises(ModelError, match="does not say its weight"):
        PartialAverage.load(tmp_path / "model")
