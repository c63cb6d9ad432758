"""RoundRemarks: odd values are named with their site and round, in a line for each kind."""

from __future__ import annotations

import pytest

from fedtrack.client.fl_model import FLModel
from fedtrack_local.averaging.round_remarks import RoundRemarks

STEPS = {"NUM_STEPS_CURRENT_ROUND": 3}


def noted(*models: FLModel) -> None:
    remarks = RoundRemarks()
    for number, model in enumerate(models, start=1):
        remarks.note(f"site-{number}", model)
    remarks.log()


def test_a_metric_that_is_nan_is_named_with_its_sites(caplog: pytest.LogCaptureFixture) -> None:
    nan = float("nan")
    noted(
        *(FLModel(metrics={"loss": nan, "auc": 0.5}, current_round=4) for _ in range(5)), FLModel(metrics={"loss": 1.0})
    )
    assert caplog.messages == [
        "the metric 'loss' of site-1, site-2, site-3 and 2 more sites is NaN, it is left out of the average"
    ]
    caplog.clear()
    noted(FLModel(metrics={"loss": nan}, current_round=4))
    assert caplog.messages == ["round 4: the metric 'loss' of site-1 is NaN, it is left out of the average"]


def test_one_site_with_a_weight_and_one_without_is_said(caplog: pytest.LogCaptureFixture) -> None:
    noted(FLModel(meta=dict(STEPS)), FLModel())
    assert caplog.messages == [
        "site-2 sent no NUM_STEPS_CURRENT_ROUND and counts as one step, beside site-1 with a number; send it in "
        "FLModel.meta"
    ]
    caplog.clear()
    noted(FLModel(meta=dict(STEPS)), FLModel(meta=dict(STEPS)))
    noted(FLModel(), FLModel())
    assert caplog.messages == []
