"""Data types of ``log``: what names one, and what becomes of a value that does not go with it."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any

import pytest

from fedtrack.client.data_type import AnalyticsDataType, data_type_of, record
from fedtrack.testing import MemoryLog
from fedtrack.tracking.records import Metric, Rejected
from fedtrack.tracking.writer import Writer


class Flares(Enum):
    """As FLARE has it."""

    SCALARS = "SCALARS"


class Foreign(StrEnum):
    METRIC = "some other text"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "SCALAR"), ("tag", "TAG"), ("TAG", "TAG"), (AnalyticsDataType.TEXT, "TEXT"), (Flares.SCALARS, "SCALARS")],
)
def test_a_type_is_named_in_any_way_that_people_have(value: Any, expected: str) -> None:
    assert data_type_of(value) is AnalyticsDataType[expected]


def test_a_foreign_enum_counts_by_its_name() -> None:
    assert data_type_of(Foreign.METRIC) is AnalyticsDataType.METRIC


@pytest.mark.parametrize("value", ["IMAGE", 5, object])
def test_an_unknown_type_is_told_which_there_are(value: Any) -> None:
    with pytest.raises(TypeError, match=r"log\(\) got data_type=.*; valid are SCALAR, SCALARS, METRIC"):
        data_type_of(value)


class Hostile:
    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [0.5, None, ["a"], Hostile()])
@pytest.mark.parametrize("data_type", ["SCALARS", "METRICS", "PARAMETERS", "TAGS"])
def test_a_plural_without_names_is_one_rejected_call_and_no_exception(
    data_type: str, value: Any, memory_log: MemoryLog
) -> None:
    record(Writer(), AnalyticsDataType[data_type], "k", value, 0)
    (rejected,) = memory_log.records
    assert isinstance(rejected, Rejected)
    assert f"the value of {data_type} is a {type(value).__name__}; it must be a mapping" in rejected.reason


def test_one_bad_value_of_many_does_not_take_the_others_along(memory_log: MemoryLog) -> None:
    record(Writer(), AnalyticsDataType.SCALARS, "", {"a": 1.0, "b": "high", "c": 2.0}, 5)
    assert [type(r) for r in memory_log.records].count(Rejected) == 1
    assert [(r.key, r.step) for r in memory_log.records if isinstance(r, Metric)] == [("a", 5), ("c", 5)]
