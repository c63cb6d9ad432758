"""Values: each check names the place, the wrong value and the valid ones, and prints nothing that hurts a terminal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError
from fedtrack.job.values import check_count, check_name, check_seconds, check_unique, check_words


@pytest.mark.parametrize("name", ["a", "site-0", "0", "hospital_A.2", "x" * 64])
def test_a_name_may_be(name: str) -> None:
    check_name("$.name", name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\0", "a\n", "-x", "x" * 65, "x" * 5000, "é", "@ALL", "a b", "\x1b[2J"]
)
def test_a_name_may_not_be(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^\$\.name is .*; use 1 to 64 letters") as caught:
        check_name("$.name", name)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


@settings(derandomize=True)
@given(st.text(max_size=70))
def test_a_valid_name_is_one_part_of_a_path(name: str) -> None:
    try:
        check_name("x", name)
    except ConfigError:
        return
    assert name.isascii()
    assert "/" not in name
    assert name not in (".", "..")


@pytest.mark.parametrize("value", [0, -1, 2**31])
def test_counts_have_limits(value: int) -> None:
    with pytest.raises(ConfigError, match=rf"n is {value}; it must be"):
        check_count("n", value)


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_seconds_are_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ConfigError, match=r"t is .*; it must be 0 or more seconds"):
        check_seconds("t", value, zero=True)
    with pytest.raises(ConfigError, match=r"t is 0; it must be more than 0 seconds"):
        check_seconds("t", 0, zero=False)
    check_seconds("t", 0, zero=True)


def test_a_list_names_something_and_nothing_twice() -> None:
    check_unique("l", ["a", "b"], "sites")
    with pytest.raises(ConfigError, match="l is empty; name sites, or leave it out for all"):
        check_unique("l", [], "sites")
    with pytest.raises(ConfigError, match="l names 'a' twice; once is enough"):
        check_unique("l", ["a", "b", "a"], "sites")


def test_a_command_is_split_as_a_shell_does() -> None:
    assert check_words("c", "a 'b c'") == ["a", "b c"]
    assert check_words("c", "") == []
    with pytest.raises(ConfigError, match='c is "a \'b", which a shell cannot split: No closing quotation'):
        check_words("c", "a 'b")
    with pytest.raises(ConfigError, match="c is empty; give a command"):
        check_words("c", " ", needed=True)
