"""The random numbers of a function depend only on site, task and round, in every library that has random numbers."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from fedtrack.client import ClientApp, FLModel, SiteContext
from fedtrack.client.client_app import _has_gpu

SEED = crc32(b"site-7/validate/3")


@pytest.fixture(params=[False, True], ids=["without GPU", "with GPU"])
def torch_calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[bool, list[Any]]]:
    """Stand in for torch, and remember what it is asked."""
    calls: list[Any] = []

    def is_available() -> bool:
        calls.append("is there a GPU?")
        return bool(request.param)

    cuda = SimpleNamespace(is_available=is_available, manual_seed_all=lambda seed: calls.append(("gpus", seed)))
    generator = SimpleNamespace(manual_seed=lambda seed: calls.append(("cpu", seed)))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, default_generator=generator))
    _has_gpu.cache_clear()
    yield request.param, calls
    _has_gpu.cache_clear()


def test_every_turn_is_seeded_and_a_gpu_is_looked_for_once(torch_calls: tuple[bool, list[Any]]) -> None:
    has_gpu, calls = torch_calls
    app = ClientApp()
    drawn: list[tuple[float, float]] = []

    @app.evaluate
    def evaluate(model: FLModel, site: SiteContext) -> dict[str, float]:
        drawn.append((random.random(), float(np.random.random())))
        return {}

    for _ in range(3):
        app.answer("validate", FLModel(current_round=3), SiteContext("site-7"))
    assert drawn == [(random.Random(SEED).random(), np.random.RandomState(SEED).random())] * 3
    seeded = [("cpu", SEED), ("gpus", SEED)] if has_gpu else [("cpu", SEED)]
    assert [call for call in calls if isinstance(call, tuple)] == seeded * 3
    assert calls.count("is there a GPU?") == 1
