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
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"CrossSiteEval: {message}"):
        CrossSiteEval(**arguments)


def test_who_takes_part_must_be_a_site_of_the_job() -> None:
    CrossSiteEval().check([])
    CrossSiteEval(participating_clients=["b", "b"]).check(["a", "b"])
    with pytest.raises(ConfigError, match=r"names 'c', which is no site of the job: a, b\."):
        CrossSiteEval(participating_clients=["d", "c", "b"]).check(["a", "b"])


def test_a_description_cannot_be_executed_and_says_so() -> None:
    with pytest.raises(NotSupported, match="CrossSiteEval is described here"):
        CrossSiteEval().execute(None)
