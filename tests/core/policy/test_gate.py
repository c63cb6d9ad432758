"""Gate: what of a log call may be stored, with the strictest of several policies."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtrack.policy.gate import Gate, error_type
from fedtrack.policy.policy import CLOSED, Policy, Rule
from fedtrack.tracking.records import Artifact, Gap, Histogram, Image, Metric, Param, Record, Rejected, Tag, Text

OPEN = Policy(default="allow")


def metric(value: float, key: str = "loss", n: int | None = None) -> Metric:
    return Metric(1, key, value, 7, n)


def released(gate: Gate, values: list[float], round: int | None = 0, n: int | None = None) -> list[float]:
    found = (gate.release(metric(value, n=n), round) for value in values)
    return [record.value for record in found if isinstance(record, Metric)]


EVERY_KIND: list[Record] = [
    metric(1.5),
    metric(1.5, "system/memory"),
    Param(1, "lr", 0.1),
    Tag(1, "name", "x"),
    Text(1, "note", "x"),
    Image(1, "picture", b"x"),
    Histogram(1, "weights", (0.0, 1.0), (2.0,)),
    Artifact(1, "file.txt", b"x"),
]


@pytest.mark.parametrize("record", EVERY_KIND, ids=lambda record: type(record).__name__)
def test_what_nothing_allows_is_withheld(record: Record) -> None:
    assert Gate([CLOSED]).release(record, 0) is None
    assert Gate([OPEN]).release(record, 0) == record
    assert Gate([OPEN, CLOSED]).release(record, 0) is None
    assert not Gate([CLOSED]).could_release(record)
    assert not Gate([CLOSED]).allows(type(record), getattr(record, "key", getattr(record, "path", "")))


@pytest.mark.parametrize(
    ("field", "record"),
    [
        ("system", EVERY_KIND[1]),
        ("params", EVERY_KIND[2]),
        ("tags", EVERY_KIND[3]),
        ("text", EVERY_KIND[4]),
        ("images", EVERY_KIND[5]),
        ("histograms", EVERY_KIND[6]),
        ("artifacts", EVERY_KIND[7]),
    ],
)
def test_a_field_allows_its_own_kind_only(field: str, record: Record) -> None:
    gate = Gate([Policy(**{field: "allow"})])
    assert [one for one in EVERY_KIND if gate.release(one, 0)] == [record]
    key = getattr(record, "key", getattr(record, "path", ""))
    assert Gate([Policy(**{field: [key[:3] + "*"]})]).release(record, 0) == record
    assert Gate([Policy(**{field: ["other"]})]).release(record, 0) is None
    assert Gate([Policy(default="allow", **{field: "deny"})]).release(record, 0) is None


def test_a_rule_gives_the_first_value_of_a_round_and_a_key() -> None:
    gate = Gate([Policy(allow=[Rule("loss", every="round")])])
    assert released(gate, [1.0, 2.0, 3.0]) == [1.0]
    assert released(gate, [4.0, 5.0], round=1) == [4.0]
    assert released(gate, [6.0], round=None) == [6.0]
    assert released(gate, [7.0], round=0) == []
    assert gate.release(metric(1.0, "other"), 2) is None


def test_a_rule_gives_the_first_of_every_n_values() -> None:
    gate = Gate([Policy(allow=[Rule("loss", every=3)])])
    assert released(gate, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == [1.0, 4.0, 7.0]


def test_values_are_clipped_and_rounded_and_a_nan_has_no_bits_of_its_own() -> None:
    gate = Gate([Policy(allow=[Rule("loss", clip=(0, 10), sig=3)])])
    assert released(gate, [0.123456, 12345.0, -1.0, math.inf, 3.14159]) == [0.123, 10.0, 0.0, 10.0, 3.14]
    canary = struct.unpack("<d", struct.pack("<Q", 0x7FF8_DEAD_BEEF_CAFE))[0]
    (value,) = released(gate, [canary])
    assert struct.pack("<d", value) == struct.pack("<d", math.nan)


@pytest.mark.parametrize(("n", "kept"), [(None, []), (49, []), (50, [1.0])])
def test_a_value_of_few_samples_is_withheld(n: int | None, kept: list[float]) -> None:
    assert released(Gate([Policy(allow=[Rule("loss", min_n=50)])]), [1.0], n=n) == kept


def test_the_first_rule_that_matches_counts() -> None:
    gate = Gate([Policy(allow=[Rule("train/*", sig=1), Rule("*", sig=3)])])
    assert [gate.metric(key, 1.2345, None, 0) for key in ("train/loss", "val")] == [1.0, 1.23]


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (Rejected(1, "'loss'", "ValueError: patient 4711"), Rejected(1, "loss", "ValueError")),
        (Rejected(1, "'patient 4711'", "the value 4711 is text"), Rejected(1, "", "Refused")),
        (Rejected(1, "'loss'", "Patient4711: x"), Rejected(1, "loss", "Refused")),
    ],
)
def test_a_rejection_crosses_as_its_type(record: Rejected, shown: Rejected) -> None:
    gate = Gate([Policy(allow=[Rule("loss")])])
    assert gate.release(record, 0) == shown
    assert gate.could_release(shown)
    assert not gate.could_release(record)


def test_losses_are_always_told() -> None:
    assert Gate([CLOSED]).release(Gap(1, 3, "disk full"), 0) == Gap(1, 3, "disk full")


def test_the_metrics_of_a_model_pass_the_same_rules_and_count_apart() -> None:
    gate = Gate([Policy(allow=[Rule("accuracy", every="round", sig=2)])])
    assert released(gate, [1.0]) == []
    assert gate.metric("accuracy", 0.98765, None, 0) == 0.99
    assert gate.released_metrics({"accuracy": 0.98765, "patients": 12.0}, 0) == {"accuracy": 0.99}
    assert gate.released_metrics({"accuracy": 0.5}, 0) == {}
    assert gate.released_metrics(None, 0) is None


RULES = st.builds(
    Rule,
    key=st.sampled_from(["loss", "l*", "*", "acc"]),
    every=st.one_of(st.just("round"), st.integers(1, 4)),
    clip=st.one_of(st.none(), st.tuples(st.floats(-100, 0), st.floats(1, 100))),
    sig=st.one_of(st.none(), st.integers(1, 17)),
    min_n=st.one_of(st.none(), st.integers(1, 5)),
)
POLICIES = st.builds(
    Policy,
    default=st.sampled_from(["deny", "allow"]),
    allow=st.lists(RULES, max_size=3),
    text=st.sampled_from([None, "allow", "deny"]),
)
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["loss", "acc", "x"]), st.floats(), st.one_of(st.none(), st.integers(0, 9)), st.integers(0, 3)
    ),
    max_size=30,
)


@given(POLICIES, POLICIES, CALLS)
def test_two_policies_are_never_looser_than_either(one: Policy, two: Policy, calls: list[Any]) -> None:
    both, alone = Gate([one, two]), [Gate([one]), Gate([two])]
    counts: dict[str, list[int]] = {}
    for key, value, n, round_ in calls:
        found = both.metric(key, value, n, round_)
        single = [gate.metric(key, value, n, round_) for gate in alone]
        seen = counts.setdefault(key, [0, 0, 0])
        for index, released_ in enumerate([found, *single]):
            seen[index] += released_ is not None
        if found is not None:
            for gate in [both, *alone]:
                assert gate.could_release(Metric(1, key, found, None, n))
            assert not any(gate.plan(key).denied for gate in alone)
    for kind, key in ((Text, "x"), (Metric, "loss")):
        assert not both.allows(kind, key) or all(gate.allows(kind, key) for gate in alone)
    assert all(seen[0] <= max(1, min(seen[1], seen[2])) for seen in counts.values())


@given(RULES, st.floats())
def test_a_released_value_is_released_unchanged_a_second_time(rule: Rule, value: float) -> None:
    plan = Gate([Policy(allow=[rule])]).plan("loss")
    shaped = plan.shape(value)
    assert shaped is None or math.isnan(shaped) or plan.shape(shaped) == shaped


def test_only_the_types_of_python_are_named() -> None:
    assert [error_type(text) for text in ("KeyError: 'x'", "open: x", "SystemExit", "", "a b")] == [
        "KeyError", "Refused", "SystemExit", "Refused", "Refused",
    ]  # fmt: skip
