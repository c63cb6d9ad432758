"""The laws of values: infinity is what backends show as such, and the keys are as hostile as scripts may be."""

from __future__ import annotations

import math
import sys

import pytest

from fedtrack.testing.laws.values import HOSTILE_KEYS, shown_as
from fedtrack.tracking.normalise import key


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (sys.float_info.max, "inf"),  # as MLflow's stores have infinity
        (-sys.float_info.max, "-inf"),
        (1e38, 1e38),
        (0.0, 0.0),
    ],
)
def test_a_value_is_shown_as_a_person_would_call_it(value: float, shown: float | str) -> None:
    assert shown_as(value) == shown


@pytest.mark.parametrize("hostile", HOSTILE_KEYS)
def test_every_hostile_key_is_one_that_a_script_may_use(hostile: str) -> None:
    assert key(hostile) == hostile  # or a receiver would be asked for what it never gets


def test_some_of_them_are_the_same_to_a_careless_encoding() -> None:
    assert len({k.replace("/", "_") for k in HOSTILE_KEYS}) < len(HOSTILE_KEYS)
    assert len({k.casefold() for k in HOSTILE_KEYS}) == len(HOSTILE_KEYS)
