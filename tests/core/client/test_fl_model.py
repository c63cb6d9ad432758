"""FLModel: FLARE's constructor, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedtrack.client.fl_model import FLModel, MetaKey, ParamsType
from fedtrack.errors import ModelError


def test_takes_the_arguments_in_flare_s_order() -> None:
    model = FLModel(ParamsType.DIFF, {"w": 1}, {"m": 2}, {"loss": 0.5}, 1, 2, 3, {"k": "v"})
    assert (model.params_type, model.params, model.optimizer_params) == ("DIFF", {"w": 1}, {"m": 2})
    assert (model.metrics, model.start_round, model.current_round, model.total_rounds) == ({"loss": 0.5}, 1, 2, 3)
    assert model.meta == {"k": "v"}


def test_params_are_full_unless_it_says_otherwise() -> None:
    assert FLModel(params={}).params_type is ParamsType.FULL
    assert FLModel(params={}, params_type="DIFF").params_type is ParamsType.DIFF  # type: ignore[arg-type]
    assert FLModel(metrics={"accuracy": 1.0}).params_type is None


def test_meta_is_always_a_dict_of_its_own() -> None:
    first, second = FLModel(), FLModel(meta=None)  # type: ignore[arg-type]
    first.meta[MetaKey.NUM_STEPS_CURRENT_ROUND] = 3
    assert second.meta == {}
    assert FLModel().meta == {}


def test_models_compare_by_identity_because_tensors_have_no_truth_value() -> None:
    model = FLModel(params={"w": np.zeros(2)})
    assert model == model
    assert model != FLModel(params={"w": np.zeros(2)})


def test_prints_no_tensors() -> None:
    shown = repr(FLModel(params={"w": np.zeros(3)}, metrics={"accuracy": 0.5}, current_round=2))
    assert "array" not in shown
    assert "accuracy" in shown
    assert "current_round=2" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"params": {}, "params_type": "DELTA"}, "'DELTA'; valid types are FULL, DIFF"),
        ({"params_type": "FULL"}, "FULL but no params"),
        ({"params": [1]}, "params of type list"),
        ({"metrics": 0.5}, "metrics of type float"),
        ({"meta": "x"}, "meta of type str"),
        ({"current_round": -1}, "current_round=-1"),
        ({"total_rounds": 2.0}, "total_rounds=2.0"),
        ({"start_round": True}, "start_round=True"),
    ],
)
def test_refuses_what_is_no_model(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        FLModel(**arguments)
