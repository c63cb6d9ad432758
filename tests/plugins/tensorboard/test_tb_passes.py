"""The rule that determines the run of a point, and the set of written sequence numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedtrack_tensorboard.passes import Passes
from fedtrack_tensorboard.sequences import SequenceSet


def placed(steps: list[int]) -> list[int]:
    passes, chosen = Passes(), []
    for step in steps:
        index = passes.choose("loss", "scalar", step)
        passes.add("loss", "scalar", step, index)
        chosen.append(index)
    return chosen


def fewest(steps: list[int]) -> int:
    """The length of the longest sequence that never ascends: its points must all be in different passes."""
    lengths: list[int] = []
    for n, step in enumerate(steps):
        lengths.append(1 + max((lengths[m] for m in range(n) if steps[m] >= step), default=0))
    return max(lengths, default=0)


@given(st.lists(st.integers(-5, 20), max_size=60))
def test_steps_ascend_in_every_pass_and_no_rule_needs_fewer(steps: list[int]) -> None:
    chosen = placed(steps)
    for index in range(max(chosen, default=-1) + 1):
        shown = [step for step, where in zip(steps, chosen, strict=True) if where == index]
        assert shown == sorted(set(shown))
    assert len(set(chosen)) == fewest(steps)


def test_each_restart_of_the_steps_is_one_pass() -> None:
    assert placed([*range(3), *range(3), *range(5)]) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]


def test_a_straggler_does_not_split_the_curve() -> None:
    assert placed([0, 1, 5, 3, 6, 7, 4]) == [0, 0, 0, 1, 0, 0, 1]


def test_kinds_do_not_share_a_run_and_parameters_keep_their_place() -> None:
    passes = Passes()
    passes.add("x", "scalar", 5, 0)
    assert passes.choose("x", "text", 6) == 1
    passes.add("x", "text", 6, 1)
    assert [passes.choose("x", kind, 7) for kind in ("scalar", "text", "image")] == [0, 1, 2]
    passes.add("p", "param", 0, 0)
    assert passes.choose("p", "param", 0) == 0


def test_a_point_without_a_step_comes_next() -> None:
    passes = Passes()
    assert passes.next_step("x") == 0
    passes.add("x", "scalar", 7, 0)
    passes.add("x", "scalar", 3, 1)
    assert passes.next_step("x") == 8
    passes.add("x", "scalar", 2**63 - 1, 0)
    assert passes.next_step("x") == 2**63 - 1


@given(st.lists(st.integers(0, 40), max_size=60))
def test_a_sequence_set_is_a_set(numbers: list[int]) -> None:
    found, expected = SequenceSet(), set(numbers)
    for number in numbers:
        found.add(number)
    assert {n for n in range(-1, 42) if n in found} == expected
    if expected == set(range(len(expected))):
        assert len(found._starts) <= 1
