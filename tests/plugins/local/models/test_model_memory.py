"""The memory for models: a part of what this process may use, divided among those who may fill it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack_local.models import model_memory


@pytest.mark.parametrize(("said", "limit"), [("max\n", None), ("4000\n", 1000), ("nonsense", None)])
def test_the_limit_is_a_quarter_of_what_may_be_used(
    said: str, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: said)
    model_memory.memory_limit.cache_clear()
    found = model_memory.memory_limit()
    model_memory.memory_limit.cache_clear()
    assert found == limit if limit else found > 2**26


def test_sites_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_memory, "memory_limit", lambda: 1000)
    assert [model_memory.share_of(sites) for sites in (0, 1, 4, 5000)] == [1000, 1000, 250, 0]
