"""Named items: two receivers of one kind do not write to the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.config import ComponentConfig
from fedtrack.job.named_items import components_of
from fedtrack.tracking.events import FED_EVENT

PATH = Path("server.json")


def receivers(*items: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    configs = [ComponentConfig(id_, path, args) for id_, path, args in items]
    return dict(components_of(PATH, configs, FED_EVENT, build=True))


@pytest.mark.parametrize("second", [{}, {"tb_folder": "tb_events"}, {"events": ["fed.analytix_log_stats"]}])
def test_a_second_tensorboard_has_a_folder_of_its_own(second: dict[str, Any]) -> None:
    found = receivers(("receiver", "tensorboard", {}), ("component", "tensorboard", second))
    assert [item.options.tb_folder for item in found.values()] == ["tb_events", "tb_events-component"]
    assert found["component"].options.events == second.get("events")


def test_a_third_one_too() -> None:
    found = receivers(*((id_, "tensorboard", {}) for id_ in "abc"))
    assert [item.options.tb_folder for item in found.values()] == ["tb_events", "tb_events-b", "tb_events-c"]


def test_folders_that_the_job_names_stay_as_they_are() -> None:
    found = receivers(("a", "tensorboard", {"tb_folder": "x"}), ("b", "tensorboard", {}))
    assert [item.options.tb_folder for item in found.values()] == ["x", "tb_events"]


@pytest.mark.parametrize(
    ("path", "args"),
    [("tensorboard", {"tb_folder": "x"}), ("mlflow", {}), ("mlflow", {"tracking_uri": "http://h:5000"}), ("wandb", {})],
)
def test_two_that_would_write_to_the_same_place_are_refused(path: str, args: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"server\.json: \$\.components\[1\]: 'b' has the arguments of 'a', and both"):
        receivers(("a", path, args), ("b", path, args | {"events": ["fed.analytix_log_stats"]}))


def test_two_with_other_arguments_are_two() -> None:
    found = receivers(("a", "mlflow", {}), ("b", "mlflow", {"tracking_uri": "http://h:5000"}))
    assert len(found) == 2
