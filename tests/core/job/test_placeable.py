"""Ids of components: FLARE's rule, so that configurations name the same things."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.job.placeable import unused_id


def test_the_first_free_number_is_taken() -> None:
    assert unused_id("receiver", set()) == "receiver"
    assert unused_id("receiver", {"receiver"}) == "receiver_1"
    assert unused_id("receiver", {"receiver", "receiver_2"}) == "receiver_1"
    assert unused_id("receiver", {"receiver", "receiver_1", "receiver_2"}) == "receiver_3"


@settings(derandomize=True, max_examples=30)
@given(st.lists(st.sampled_from(["a", "a_1", "b"]), max_size=12))
def test_no_two_share_one(wanted: list[str]) -> None:
    taken: list[str] = []
    for name in wanted:
        taken.append(unused_id(name, taken))
    assert len(set(taken)) == len(wanted)
