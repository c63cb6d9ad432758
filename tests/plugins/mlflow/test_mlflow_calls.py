"""No call exceeds MLflow's limits, and nothing is left out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fedtrack_mlflow import calls

texts = st.builds(
    lambda text, n: text * n,
    st.text(st.sampled_from('a"\\\n\x01é名😀'), min_size=1, max_size=5),
    st.integers(1, 9000),
)


@given(st.lists(texts, max_size=80), st.integers(1, 30))
def test_calls_are_small_enough_and_complete(items: list[str], limit: int) -> None:
    chunks = list(calls.chunks(items, limit, lambda item: item))
    assert [item for chunk in chunks for item in chunk] == items
    for chunk in chunks:
        assert 0 < len(chunk) <= limit
        assert len(chunk) == 1 or len(json.dumps(chunk)) + 120 * len(chunk) < 1_000_000


def test_short_items_fill_a_call() -> None:
    assert [len(chunk) for chunk in calls.chunks(["loss"] * 2500, 1000, lambda item: item)] == [1000, 1000, 500]
