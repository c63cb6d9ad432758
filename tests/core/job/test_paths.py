"""Paths in a job file: job files come from elsewhere, and none leads out of the run's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError
from fedtrack.job.paths import RESERVED, check_inside, check_place


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.text(alphabet="ab./\\ \0", max_size=12))
def test_what_is_let_through_lies_inside(value: str) -> None:
    try:
        check_inside("here", value)
    except ConfigError:
        return
    root = Path("/run/folder")
    assert Path(os.path.normpath(root / value)).is_relative_to(root)
    assert os.path.normpath(root / value) != str(root)


@pytest.mark.parametrize("value", ["", ".", "..", "/tmp", "a/../b", "../a", "a\0b"])
def test_what_is_refused_says_what_is_valid(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^FedAvg: folder is .*; give a relative path without '\.\.'"):
        check_inside("FedAvg: folder", value)


@pytest.mark.parametrize("value", ["a", "a/b", "./a", "a..b", "..."])
def test_ordinary_names_are_let_through(value: str) -> None:
    check_inside("here", value)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_what_a_run_writes_itself_is_not_overwritten(name: str) -> None:
    with pytest.raises(ConfigError, match=f"the run uses '{name}' itself"):
        check_inside("here", f"{name}/x")


PLACES = [
    "tb_events",
    "/data/tb",
    "file:///data/mlruns",
    "sqlite:////data/m.db",
    "http://h:5000",
    "s3://b/" + "x" * 900,
]


@pytest.mark.parametrize("value", PLACES)
def test_a_receiver_may_write_to(value: str) -> None:
    check_place("here", value)


ELSEWHERE = ["../tb", "a/../../b", "a\0b", "x" * 300, "file:///tmp/../etc", "file:///tmp/%2e%2e/etc", "FILE:../x"]


@pytest.mark.parametrize("value", [*ELSEWHERE, "file://other/data"])
def test_a_receiver_may_not_write_to(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^here is '"):
        check_place("here", value)
