"""Caps on a result: how much it counts for, and how far it moves the model."""

from __future__ import annotations

import numpy as np
import pytest

from fedtrack.client import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.averaging.result_limits import ResultLimits, check_claim

pytestmark = pytest.mark.threat("T7")

REFERENCE = {"w": np.array([1.0, 1.0], np.float32), "b": np.array(0.0), "n": np.array([5])}


def norm_of(params: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.sum((params[name] - REFERENCE[name]) ** 2.0)) for name in ("w", "b"))))


@pytest.mark.parametrize("difference", [False, True])
def test_a_long_update_is_shortened_and_keeps_its_direction(difference: bool) -> None:
    update = {"w": np.array([3.0, 0.0], np.float32), "b": np.array(4.0), "n": np.array([1_000])}
    sent = update if difference else {name: REFERENCE[name] + value for name, value in update.items()}
    kind = ParamsType.DIFF if difference else ParamsType.FULL
    params, params_type = ResultLimits(max_norm=1.0).apply("site-1", sent, kind, REFERENCE)
    assert params_type is kind
    whole = {name: REFERENCE[name] + value for name, value in params.items()} if difference else dict(params)
    assert norm_of(whole) == pytest.approx(1.0)
    np.testing.assert_allclose(whole["w"] - REFERENCE["w"], [0.6, 0.0], rtol=1e-6)
    assert whole["b"] == pytest.approx(0.8)
    assert whole["n"] == 1_005  # a count is no direction
    assert [params[name].dtype for name in params] == [sent[name].dtype for name in sent]


def test_a_short_update_is_the_same_object() -> None:
    sent = {name: value + 0 for name, value in REFERENCE.items()}
    for limits in (ResultLimits(), ResultLimits(max_norm=0.1)):
        assert limits.apply("site-1", sent, ParamsType.FULL, REFERENCE)[0] is sent


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_norm(bad: float) -> None:
    with pytest.raises(ModelError, match="site-1: tensor 'w' holds a value that is not finite"):
        ResultLimits(max_norm=1.0).apply("site-1", REFERENCE | {"w": np.array([bad, 0.0])}, ParamsType.FULL, REFERENCE)


def test_what_does_not_fit_is_left_to_the_aggregator() -> None:
    sent = {"other": np.ones(2), "w": np.ones(7)}
    assert ResultLimits(max_norm=1.0).apply("s", sent, ParamsType.FULL, REFERENCE)[0] is sent


def test_a_weight_is_capped() -> None:
    assert [ResultLimits(max_weight=10.0).weight(claim) for claim in (1.0, 10.0, 2.0**53)] == [1.0, 10.0, 10.0]
    assert ResultLimits().weight(2.0**53) == 2.0**53


@pytest.mark.parametrize(
    ("weight", "others", "believed"),
    [
        (2.0**53, [20.0, 20.0], False),
        (2.0**53, [1.0], False),
        (2.0**53, [], True),
        (2.0**53, [2.0**53], True),
        (100_000.0, [1.0], True),
        (1_000_000.0, [1_000.0, 900.0, 5_000.0], True),
        (1_000_001.0, [1_000.0, 900.0, 5_000.0], False),
    ],
)
def test_a_claim_is_measured_by_those_of_the_others(weight: float, others: list[float], believed: bool) -> None:
    if believed:
        check_claim("site-1", weight, others)
        return
    with pytest.raises(ModelError, match=r"site-1 claims .* steps .*FedAvg\(max_weight=\.\.\.\)"):
        check_claim("site-1", weight, others)
