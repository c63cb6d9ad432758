"""SubsetAggregator: each tensor is averaged over the sites that sent it, and keeps its value if none did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.client import ParamsType
from fedtrack.errors import ConfigError, ModelError
from fedtrack_local.averaging.aggregator import WeightedAggregator
from fedtrack_local.averaging.aggregators import make_aggregator
from fedtrack_local.averaging.partial_average import PartialAverage
from fedtrack_local.averaging.subset_aggregator import SubsetAggregator

FULL, DIFF = ParamsType.FULL, ParamsType.DIFF
MODEL = {
    "base": np.full(3, 7.0, np.float32),
    "lora_a": np.zeros(2, np.float32),
    "lora_b": np.zeros((), np.float32),
    "count": np.array(5, np.int64),
}


def a(value: float) -> dict[str, Any]:
    return {"lora_a": np.full(2, value, np.float32)}


def b(value: float) -> dict[str, Any]:
    return {"lora_b": np.array(value, np.float32)}


def values(model: dict[str, Any]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in model.items()}


def test_what_no_site_sends_keeps_its_global_value() -> None:
    average = SubsetAggregator(MODEL, [])
    average.accept("site-1", a(1) | b(2), FULL, 1.0)
    average.accept("site-2", a(3) | b(4), FULL, 3.0)
    found = average.result()
    assert list(found) == list(MODEL)
    assert values(found) == {"base": [7.0] * 3, "lora_a": [2.5, 2.5], "lora_b": 3.5, "count": 5}
    assert [array.dtype for array in found.values()] == [array.dtype for array in MODEL.values()]


def test_a_tensor_is_averaged_over_the_sites_that_sent_it() -> None:
    average = SubsetAggregator(MODEL, [])
    average.accept("site-1", a(1), FULL, 1.0)
    average.accept("site-2", a(3) | b(4), FULL, 1.0)
    average.accept("site-3", b(6), DIFF, 3.0)
    assert values(average.result()) == values(MODEL) | {"lora_a": [2.0, 2.0], "lora_b": 5.5}


def test_whole_results_give_the_bits_of_the_weighted_mean() -> None:
    chance = np.random.default_rng(1)
    model = {f"t{n}": chance.standard_normal(n + 1).astype(np.float32) for n in range(5)}
    whole, parts = WeightedAggregator(model), SubsetAggregator(model, [])
    for site in range(4):
        sent = {name: chance.standard_normal(array.shape).astype(np.float32) for name, array in model.items()}
        for average in (whole, parts):
            average.accept(f"site-{site}", sent, FULL, site + 1.0)
    expected, found = whole.result(), parts.result()
    assert all(found[name].tobytes() == expected[name].tobytes() for name in model)


@pytest.mark.parametrize(
    ("needed", "params", "message"),
    [
        (["lora_*"], a(1), "site-1: the result lacks 'lora_b' and has unexpected nothing"),
        (["lora_b"], a(1), "the result lacks 'lora_b'"),
        ([], {"head": np.zeros(1, np.float32)}, "lacks .* and has unexpected 'head'"),
        ([], {}, "site-1: the result has no tensor"),
        ([], {"lora_a": np.zeros(3, np.float32)}, r"tensor 'lora_a' is float32 \(3,\), expected float32 \(2,\)"),
        ([], a(1) | b(float("nan")), "tensor 'lora_b' holds nan"),
    ],
)
def test_a_result_that_is_refused_changes_nothing(needed: list[str], params: dict[str, Any], message: str) -> None:
    average = SubsetAggregator(MODEL, needed)
    with pytest.raises(ModelError, match=message):
        average.accept("site-1", params, FULL, 1.0)
    assert average.total_weight == 0
    average.accept("site-2", a(3) | b(4), FULL, 1.0)
    assert values(average.result()) == values(MODEL) | values(a(3) | b(4))


def test_what_is_not_needed_may_be_sent_too() -> None:
    average = SubsetAggregator(MODEL, ["lora_*"])
    average.accept("site-1", a(1) | b(2) | {"base": np.zeros(3, np.float32)}, FULL, 1.0)
    assert average.result()["base"].tolist() == [0.0] * 3


def test_a_pattern_that_fits_nothing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"params has 'adapter\.\*', which fits no tensor .* base, lora_a"):
        SubsetAggregator(MODEL, ["lora_*", "adapter.*"])


def test_what_workers_have_averaged_is_merged_tensor_by_tensor(tmp_path: Path) -> None:
    one, other, whole = (SubsetAggregator(MODEL, []) for _ in range(3))
    for average in (one, whole):
        average.accept("site-1", a(1), FULL, 1.0)
        average.accept("site-2", a(3) | b(4), FULL, 2.0)
    for average in (other, whole):
        average.accept("site-3", b(8), FULL, 5.0)
    merged = SubsetAggregator(MODEL, [])
    for number, average in enumerate((one, other)):
        average.partial().save(tmp_path / str(number))
        merged.merge(PartialAverage.load(tmp_path / str(number)), f"group {number}")
    assert merged.total_weight == whole.total_weight == 8.0
    found, expected = merged.result(), whole.result()
    for name in MODEL:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)


def test_nothing_accepted_is_no_average() -> None:
    for end in ("partial", "result"):
        with pytest.raises(ModelError, match="nothing to average"):
            getattr(SubsetAggregator(MODEL, []), end)()
    with pytest.raises(ModelError, match="not of the model of this round"):
        SubsetAggregator(MODEL, []).merge(PartialAverage(1.0, {"x": [np.zeros(1)]}), "a group")


def test_only_a_job_that_allows_it_gets_this_average() -> None:
    assert isinstance(make_aggregator("weighted", MODEL), WeightedAggregator)
    assert isinstance(make_aggregator("weighted", MODEL, ()), SubsetAggregator)
