"""Tables of every origin become the same columns and rows."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest

from fedtrack.tracking.normalise import Refused
from fedtrack.tracking.tables import table_of


@pytest.mark.parametrize(
    "data",
    [
        {"a": [1, 2], "b": ["x", "y"]},
        {"a": np.array([1, 2]), "b": ("x", "y")},
        pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        SimpleNamespace(columns=["a", "b"], data=[[1, "x"], [2, "y"]]),
    ],
)
def test_a_table_of_any_origin(data: Any) -> None:
    assert json.loads(table_of(data).json()) == {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}


def test_single_values_are_one_row() -> None:
    assert table_of({"a": 1, "b": [2, 3]}).rows == ((1, [2, 3]),)


def test_rows_with_names_of_columns() -> None:
    assert table_of([[1, 2]], ["a", "b"]).columns == ("a", "b")
    assert table_of([[1, 2]]).columns == ("0", "1")


def test_json_has_no_nan_and_every_other_value() -> None:
    table = table_of({"a": [math.nan, math.inf, np.float32(0.5), None, True, {"k": (1, math.nan)}, object]})
    assert json.loads(table.json())["data"] == [
        *([None], ["inf"], [0.5], [None], [True], [{"k": [1, None]}]),
        ["<class 'object'>"],
    ]


def test_rows_are_added_by_column() -> None:
    joined = table_of({"a": [1]}).joined(table_of({"b": [2], "a": [3]}))
    assert (joined.columns, joined.rows) == (("a", "b"), ((1, None), (3, 2)))


def test_markdown_shows_the_first_rows() -> None:
    shown = table_of({"a|b": [f"line {index}\nmore" for index in range(103)]}).markdown().splitlines()
    assert shown[:3] == ["| a\\|b |", "| --- |", "| line 0 more |"]
    assert shown[-1] == "3 more rows"


@pytest.mark.parametrize("data", [{"a": [1], "b": [1, 2]}, SimpleNamespace(columns=["a"], data=[[1, 2]])])
def test_what_is_no_table_is_refused(data: Any) -> None:
    with pytest.raises(Refused):
        table_of(data)
