"""Steps that begin again become one ascending count, whatever the writer, and however often one is created."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedtrack.testing import MemoryLog
from fedtrack.tracking.continued_steps import ContinuedSteps
from fedtrack.tracking.records import Metric
from fedtrack.tracking.writer import Writer


class PlainWriter(Writer):
    name = "plain"
    summary = "Has no dialect."


@given(st.lists(st.integers(1, 30), min_size=1, max_size=10))
def test_rounds_that_count_from_0_are_one_count(rounds: list[int]) -> None:
    steps = ContinuedSteps()
    found = [steps.step("loss", number) for size in rounds for number in range(size)]
    assert sorted(found) == found
    if min(rounds) > 1:  # a round of one step cannot be told from a step that repeats
        assert found == list(range(sum(rounds)))


def test_keys_of_one_loop_stay_together() -> None:
    steps = ContinuedSteps()
    found = [(key, steps.step(key, number)) for _ in range(2) for number in range(3) for key in ("a", "b")]
    assert found == [(key, number) for number in range(6) for key in ("a", "b")]


def test_writers_of_one_log_continue_one_count(memory_log: MemoryLog) -> None:
    for _ in range(3):
        writer = PlainWriter()
        writer.continue_steps()
        for number in range(2):
            writer.record_metric("loss", 0.5, number)
            writer.record_metrics({"acc": 1}, number)
            writer.record_text("note", "x", number)
        writer.record_metric("stepless", 1.0)
        writer.record_param("lr", 1)
    found = [record for record in memory_log.records if isinstance(record, Metric)]
    assert [record.step for record in found if record.key == "loss"] == list(range(6))
    assert [record.step for record in found if record.key == "acc"] == list(range(6))
    assert {record.step for record in found if record.key == "stepless"} == {None}


def test_without_the_option_steps_are_the_scripts(memory_log: MemoryLog) -> None:
    for step in (0, 1, 0):
        PlainWriter().record_metric("loss", 0.5, step)
    assert [record.step for record in memory_log.records if isinstance(record, Metric)] == [0, 1, 0]
