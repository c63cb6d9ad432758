"""FedAvg as a job describes it: its arguments, and how many sites take part."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError, NotSupported
from fedtrack.job.fedavg import FedAvg


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_clients": 0}, "num_clients is 0; it must be 1 or more"),
        ({"fraction": 0.0}, r"fraction is 0\.0; it must be greater than 0 and at most 1"),
        ({"fraction": 1.5}, r"fraction is 1\.5"),
        ({"fraction": float("nan")}, "fraction is nan"),
        ({"fraction": 0.5, "num_clients": 2}, r"num_clients is 2 and fraction 0\.5; give one of them"),
        ({"num_rounds": 0}, "num_rounds is 0; it must be 1 or more"),
        ({"num_rounds": 2**31}, "num_rounds is 2147483648; it must be at most"),
        ({"params": []}, "params is empty; name tensors or patterns"),
        ({"params": [""]}, "params has an empty name"),
        ({"params": ["a", "a"]}, "params names 'a' twice"),
        ({"params": "partial", "aggregator": "median"}, "params is 'partial' and aggregator 'median'; only 'weighted'"),
        ({"start_round": -2}, "start_round is -2; it must be 0 or more"),
        ({"task_timeout": -1.0}, r"task_timeout is -1\.0; it must be 0 or more seconds"),
    ],
)
def test_arguments_are_checked_in_python_and_in_files(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"FedAvg: {message}"):
        FedAvg(**arguments)
    with pytest.raises((ConfigError, msgspec.ValidationError), match=message):
        msgspec.convert(arguments, FedAvg)


def test_more_sites_than_there_are_cannot_take_part() -> None:
    FedAvg(num_clients=2).check(["a", "b"])
    with pytest.raises(ConfigError, match="num_clients is 9, but the job has 2 sites; give at most 2"):
        FedAvg(num_clients=9).check(["a", "b"])


def test_a_seed_without_a_choice_is_named() -> None:
    assert FedAvg(seed=7, num_clients=1).without_effect(["a", "b"]) == []
    (said,) = FedAvg(seed=7, num_clients=2).without_effect(["a", "b"])
    assert said == "seed is 7, but all 2 sites take part in each round and none is chosen"


def test_sites_validate_only_if_the_last_model_is_scored() -> None:
    assert FedAvg().tasks() == {"train"}
    assert FedAvg(evaluate_final_model=True).tasks() == {"train", "validate"}


@settings(derandomize=True)
@given(st.floats(0, 1, exclude_min=True), st.integers(1, 10_000))
def test_a_share_is_at_least_one_site_and_at_most_all(fraction: float, sites: int) -> None:
    found = FedAvg(fraction=fraction).clients_per_round(sites)
    assert 1 <= found <= sites
    assert abs(found - fraction * sites) <= 0.5 or found == 1


def test_a_number_is_of_those_that_are_left() -> None:
    assert [FedAvg(num_clients=3).clients_per_round(sites) for sites in (2, 3, 4)] == [2, 3, 3]
    assert FedAvg().clients_per_round(7) == 7


def test_params_say_what_sites_must_send() -> None:
    assert FedAvg().needed_params() == ("*",)
    assert FedAvg(params="partial").needed_params() == ()
    assert FedAvg(params=["lora_*", "head"]).needed_params() == ("lora_*", "head")
    with pytest.raises(ConfigError, match="FedAvg: params is 'some'; valid are 'all', 'partial' and a list"):
        FedAvg(params="some")  # type: ignore[arg-type]


def test_a_description_cannot_be_executed_and_says_so() -> None:
    with pytest.raises(NotSupported, match="FedAvg is described here, but no installed plugin executes it"):
        FedAvg().execute(None)
