"""The rule that determines the run of a point, and the set of written sequence numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtrack_tensorboard import passes
from fedtrack_tensorboard.passes import Passes, Place
from fedtrack_tensorboard.sequences import SequenceSet


def placed(steps: list[int]) -> list[Place]:
    passes, chosen = Passes(), []
    for step in steps:
        place = passes.choose("loss", "scalar", step)
        passes.add("loss", "scalar", place.step, place.number, step)
        chosen.append(place)
    return chosen


def passes_of(steps: list[int]) -> list[int]:
    return [place.number for place in placed(steps)]


def fewest(steps: list[int]) -> int:
    """The length of the longest sequence that never ascends: its points must all be in different passes."""
    lengths: list[int] = []
    for n, step in enumerate(steps):
        lengths.append(1 + max((lengths[m] for m in range(n) if steps[m] >= step), default=0))
    return max(lengths, default=0)


@given(st.lists(st.integers(-5, 20), max_size=60))
def test_steps_ascend_in_every_pass_and_no_rule_needs_fewer(steps: list[int]) -> None:
    steps = [step for n, step in enumerate(steps) if n == 0 or steps[n - 1] != step]
    chosen = placed(steps)
    for index in range(max((place.number for place in chosen), default=-1) + 1):
        shown = [step for step, where in zip(steps, chosen, strict=True) if where.number == index]
        assert shown == sorted(set(shown))
    assert [place.step for place in chosen] == steps
    assert len({place.number for place in chosen}) == fewest(steps)


@given(st.lists(st.integers(-5, 5), max_size=80))
def test_steps_in_the_files_ascend_also_if_they_repeat(steps: list[int]) -> None:
    chosen = placed(steps)
    for index in {place.number for place in chosen}:
        written = [place.step for place in chosen if place.number == index]
        assert written == sorted(set(written))


def test_a_step_that_repeats_comes_next_in_the_same_run() -> None:
    assert [(place.number, place.step) for place in placed([0, 0, 0, 1, 1, 7, 7])] == [
        *((0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 7), (0, 8)),
    ]


def test_each_restart_of_the_steps_is_one_pass() -> None:
    assert passes_of([*range(3), *range(3), *range(5)]) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]


def test_a_straggler_does_not_split_the_curve() -> None:
    assert passes_of([0, 1, 5, 3, 6, 7, 4]) == [0, 0, 0, 1, 0, 0, 1]


def test_after_the_most_passes_points_come_next_in_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "MOST", 3)
    assert [(place.number, place.step) for place in placed([4, 3, 2, 1, 0])] == [(0, 4), (1, 3), (2, 2), (2, 3), (2, 4)]


def test_kinds_do_not_share_a_run_and_parameters_keep_their_place() -> None:
    known = Passes()
    known.add("x", "scalar", 5, 0)
    assert known.choose("x", "text", 6).number == 1
    known.add("x", "text", 6, 1)
    assert [known.choose("x", kind, 7).number for kind in ("scalar", "text", "image")] == [0, 1, 2]
    known.add("p", "param", 0, 0)
    assert known.choose("p", "param", 0) == (0, 0, False)


def test_a_point_without_a_step_comes_next() -> None:
    known = Passes()
    assert known.next_step("x") == 0
    known.add("x", "scalar", 7, 0)
    known.add("x", "scalar", 3, 1)
    assert known.next_step("x") == 8
    known.add("x", "scalar", 2**63 - 1, 0)
    assert known.next_step("x") == 2**63 - 1


@given(st.lists(st.integers(0, 40), max_size=60))
def test_a_sequence_set_is_a_set(numbers: list[int]) -> None:
    found, expected = SequenceSet(), set(numbers)
    for number in numbers:
        found.add(number)
    assert {n for n in range(-1, 42) if n in found} == expected
    if expected == set(range(len(expected))):
        assert len(found._starts) <= 1
