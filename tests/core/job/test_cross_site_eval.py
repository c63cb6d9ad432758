"""Cross-site evaluation as a job describes it: it is checked before anything starts, where nothing executes it too."""

from __future__ import annotations

from typing import Any

import pytest

from fedtrack.errors import ConfigError, NotSupported
from fedtrack.job.cross_site_eval import CrossSiteEval


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"submit_model_timeout": -0.1}, r"submit_model_timeout is -0\.1; it must be 0 or more seconds"),
        ({"validation_timeout": float("nan")}, "validation_timeout is nan"),
        ({"participating_clients": []}, "participating_clients is empty; name sites, or leave it out for all"),
        ({"cross_val_dir": "a/../../b"}, r"cross_val_dir is .*; give a relative path"),
        ({"participating_clients": ["b", "b"]}, "participating_clients names 'b' twice"),
        ({"cross_val_dir": "spool/models"}, "cross_val_dir is 'spool/models'; the run uses 'spool' itself"),
        ({"cross_val_dir": "x" * 5000}, "cross_val_dir is 'xxx.*5,000 characters; give a shorter path"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"CrossSiteEval: {message}"):
        CrossSiteEval(**arguments)


def test_who_takes_part_must_be_a_site_of_the_job() -> None:
    CrossSiteEval().check([])
    CrossSiteEval(participating_clients=["b"]).check(["a", "b"])
    with pytest.raises(ConfigError, match=r"names 'c', which is no site of the job: a, b\."):
        CrossSiteEval(participating_clients=["d", "c", "b"]).check(["a", "b"])


def test_tasks_are_those_that_sites_are_asked_for() -> None:
    assert CrossSiteEval().tasks() == {"validate", "submit_model"}
    assert CrossSiteEval(submit_model_task_name="").tasks() == {"validate"}


def test_arguments_without_an_effect_are_named() -> None:
    assert CrossSiteEval(cleanup_models=True).without_effect(["a"]) == []
    (said,) = CrossSiteEval(cleanup_models=True, submit_model_task_name="").without_effect(["a"])
    assert said == "cleanup_models is set, but submit_model_task_name asks no site for a model"


def test_a_description_cannot_be_executed_and_says_so() -> None:
    with pytest.raises(NotSupported, match="CrossSiteEval is described here"):
        CrossSiteEval().execute(None)
