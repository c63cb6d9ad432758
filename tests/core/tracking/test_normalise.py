"""The arguments of a log call become plain values, or a reason that can be printed anywhere."""

from __future__ import annotations

import enum
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtrack.tracking import normalise
from fedtrack.tracking.normalise import Refused


class IntLike(int):
    pass


class FloatLike(float):
    pass


class Liar(str):
    """A str that says of itself whatever it likes."""

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "\udc80"

    def encode(self, *_: Any) -> bytes:
        return b""

    def __getitem__(self, _: Any) -> str:
        raise RuntimeError("no")


class Colour(enum.IntEnum):
    RED = 3


class Level(enum.StrEnum):
    LOW = "low"


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name) if name.startswith("__") else RuntimeError(f"no {name}")


class Escapes:
    def __repr__(self) -> str:
        return "\x1b]0;owned\x07\u202e\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.1, 0.1),
        (IntLike(3), 3.0),
        (FloatLike(0.5), 0.5),
        (2**80, 2.0**80),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (np.float16(0.5), 0.5),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(7), 7.0),
        (np.array(2.5), 2.5),
        (np.array([2.5]), 2.5),
        (np.array([[2.5]]), 2.5),
        (math.inf, math.inf),
    ],
)
def test_numbers(value: Any, expected: float) -> None:
    found = normalise.number(value)
    assert type(found) is float
    assert found == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, 1.0), (False, 0.0), (np.bool_(True), 1.0), ("0.5", 0.5), (" 1e3 ", 1000.0), ("-inf", -math.inf), (2, 2.0)],
)
def test_metrics_take_bools_and_numerals(value: Any, expected: float) -> None:
    assert normalise.metric_value(value) == expected


@pytest.mark.parametrize("value", ["", "half", "9" * 1001, b"1", None, Hostile()])
def test_what_is_no_metric(value: Any) -> None:
    with pytest.raises(Refused):
        normalise.metric_value(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(normalise.number(np.float32("nan")))


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.bool_(True), np.array(True), None, "1.0", b"1", 1j, np.array([1.0, 2.0]), np.array([])),
        *(10**400, Decimal("sNaN"), Hostile(), object(), [1.0], {"a": 1}, np.datetime64("2020-01-01"), float),
    ],
)
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(Refused) as caught:
        normalise.number(value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((None, None), (0, 0), (-1, -1), (10**9, 10**9), (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63))),
        *((3.0, 3), (IntLike(3), 3), (Colour.RED, 3), (np.int32(3), 3), (np.array(3), 3), (np.uint64(3), 3)),
    ],
)
def test_steps(value: Any, expected: int | None) -> None:
    found = normalise.step(value)
    assert type(found) in (int, type(None))
    assert found == expected


@pytest.mark.parametrize(
    "value", [True, 1.5, math.nan, math.inf, 2**63, -(2**63) - 1, "1", np.array([1, 2]), Hostile(), 1e300]
)
def test_what_is_no_step(value: Any) -> None:
    with pytest.raises(Refused, match="step"):
        normalise.step(value)


@pytest.mark.parametrize("value", ["loss", "a" * 1024, "../../x", "nul\0", "\u202e", "🎯" * 256, Level.LOW])
def test_keys(value: str) -> None:
    found = normalise.key(value)
    assert type(found) is str
    assert found == value


@pytest.mark.parametrize("value", ["", "a" * 1025, "🎯" * 257, "\udc80", None, 1, b"loss", Hostile()])
def test_what_is_no_key(value: Any) -> None:
    with pytest.raises(Refused):
        normalise.key(value)


def test_a_str_that_lies_about_itself_is_taken_at_its_content() -> None:
    found = normalise.key(Liar("loss"))
    assert type(found) is str
    assert found == "loss"
    with pytest.raises(Refused):
        normalise.key(Liar("\udc80"))
    with pytest.raises(Refused, match="1,025 characters"):
        normalise.key(Liar("a" * 1025))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((None, None), (True, True), (3, 3), (0.5, 0.5), ("sgd", "sgd"), (IntLike(3), 3), (FloatLike(0.5), 0.5)),
        *((Colour.RED, 3), (Level.LOW, "low"), (np.float64(0.5), 0.5), (np.bool_(True), True), (np.array([3]), 3)),
        *((2**64 - 1, 2**64 - 1), (2**64, str(2**64)), (-(2**63) - 1, str(-(2**63) - 1)), ([1, 2], "[1, 2]")),
    ],
)
def test_scalars(value: Any, expected: Any) -> None:
    found = normalise.scalar(value)
    assert type(found) is type(expected)
    assert found == expected


@pytest.mark.parametrize("value", ["\udc80", Hostile()])
def test_what_is_no_parameter(value: Any) -> None:
    with pytest.raises((Refused, RuntimeError)):
        normalise.scalar(value)


@given(st.text(), st.integers(2, 80))
def test_reasons_are_short_and_printable(text: str, limit: int) -> None:
    for shown in (normalise.printable(text, limit), normalise.shorten(text, limit)):
        assert len(shown) <= limit
        assert shown.isprintable()
        shown.encode()


ENORMOUS: list[Any] = [Hostile(), Escapes(), Liar("x"), "x" * 10**6, b"x" * 10**6, [0] * 10**6, 10**9999]


@pytest.mark.parametrize("value", ENORMOUS, ids=list("1234567"))
def test_shorten_takes_anything(value: Any) -> None:
    shown = normalise.shorten(value)
    assert 0 < len(shown) <= 60
    assert shown.isprintable()


def test_a_reason_says_what_was_wrong_without_quotes() -> None:
    assert normalise.reason(Refused("the key is empty")) == "the key is empty"
    assert normalise.reason(KeyError("a")) == "KeyError: 'a'"


def test_the_reason_of_a_hostile_error_is_its_class() -> None:
    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert normalise.reason(HostileError()) == "HostileError"
