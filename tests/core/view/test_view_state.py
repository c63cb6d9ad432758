"""ViewState: which rounds are written, in few ranges, whatever their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtrack.view.view_state import ViewState, decode_state, encode_state


@given(st.lists(st.integers(0, 30), max_size=40))
def test_a_state_has_the_rounds_that_were_added_after_it_was_stored_too(rounds: list[int]) -> None:
    state = ViewState()
    for number in rounds:
        state.add_round(number)
    stored = decode_state(encode_state(state))
    assert [number for number in range(31) if stored.has_round(number)] == sorted(set(rounds))
    assert all(last + 1 < first for (_, last), (first, _) in zip(stored.rounds, stored.rounds[1:], strict=False))
    assert stored == state


@pytest.mark.parametrize("text", [None, "", "{", '{"mark": "x"}'])
def test_a_state_that_cannot_be_read_is_a_new_one(text: str | None) -> None:
    assert decode_state(text).mark == 0
