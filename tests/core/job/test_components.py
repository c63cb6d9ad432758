"""Components: arguments that make no sense are refused where the job is written, with what would."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.components import (
    ALIASES,
    COMPONENTS,
    ClientAppRunner,
    ConvertToFedEvent,
    FrameworkType,
    IntimeModelSelector,
    ScriptRunner,
    ValidationJsonGenerator,
)
from fedtrack.job.workflows import DESCRIBED


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (ConvertToFedEvent, {"events_to_convert": []}, "events_to_convert is empty; remove the component"),
        (IntimeModelSelector, {"key_metric": ""}, "key_metric is empty; name a metric, or remove the component"),
        (IntimeModelSelector, {"key_metric_mode": "min", "negate_key_metric": True}, "both say that smaller values"),
        (ScriptRunner, {"script": ""}, "script is ''; give the path of a Python file"),
        (ScriptRunner, {"script": "x" * 300}, "300 characters; give a shorter path"),
        (ScriptRunner, {"script": "a.py", "script_args": "'"}, "script_args is .*No closing quotation"),
        (ScriptRunner, {"script": "a.py", "command": " "}, "command is empty; give a command"),
        (ConvertToFedEvent, {"events_to_convert": ["loss"]}, "the event 'loss' does not exist; valid is 'analytix_log"),
        (ValidationJsonGenerator, {"results_dir": "../out"}, r"results_dir is '\.\./out'; give a relative path"),
        (ValidationJsonGenerator, {"json_file_name": ""}, "json_file_name is ''; give a relative path"),
        (ClientAppRunner, {"script": "a.py", "workers": 0}, "workers is 0; it must be 1 or more, or None"),
        (ClientAppRunner, {"script": "a.py", "threads": -1}, "threads is -1"),
        (ClientAppRunner, {"script": "a.py", "app": "my-app"}, "app is 'my-app'; give the name of a ClientApp"),
    ],
)
def test_arguments_are_checked(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**arguments)


def test_a_misspelt_argument_of_a_job_file_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `framwork`"):
        msgspec.convert({"script": "a.py", "framwork": "numpy"}, ScriptRunner)


def test_an_instance_shares_nothing_with_the_next_one() -> None:
    first = ConvertToFedEvent()
    first.events_to_convert.append("x")
    ClientAppRunner("a.py").args["x"] = 1
    assert ConvertToFedEvent().events_to_convert == ["analytix_log_stats"]
    assert ClientAppRunner("a.py").args == {}


def test_flares_names_are_names_of_something_that_exists() -> None:
    assert set(ALIASES.values()) <= COMPONENTS.keys() | DESCRIBED.keys()
    assert all(path.startswith("nvflare.") for path in ALIASES)


def test_flares_negation_is_the_mode_min() -> None:
    assert IntimeModelSelector("loss", negate_key_metric=True).mode == "min"
    assert [IntimeModelSelector("loss", mode).mode for mode in ("max", "min")] == ["max", "min"]


def test_flares_raw_arrays_are_numpys() -> None:
    assert (FrameworkType.RAW, FrameworkType.PYTORCH) == ("numpy", "pytorch")
