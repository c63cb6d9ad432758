"""The protocol keeps its promises in thousands of simulated runs; see docs/reliability.md for what it promises."""

from __future__ import annotations

import os
from time import monotonic

import pytest
from simulation import plan
from simulation.simulate import explain, simulate

#: The seeds of one test, so that several workers share them.
_PART = 225
_SOAK_SEEDS = 1_000_000


def _run(first: int, end: int, until: float = float("inf")) -> int:
    """Simulate seeds until the first failure, and return how many there were."""
    for seed in range(first, end):
        made = plan.make(seed)
        broken = simulate(made)
        if broken:
            pytest.fail(explain(made, broken), pytrace=False)
        if monotonic() > until:
            return seed + 1 - first
    return end - first


def test_the_first_runs_keep_the_promises() -> None:
    assert _run(0, 200) == 200


@pytest.mark.slow
@pytest.mark.parametrize("first", range(200, 2_000, _PART))
def test_further_runs_keep_the_promises(first: int) -> None:
    assert _run(first, first + _PART) == _PART


@pytest.mark.skipif(os.environ.get("FEDTRACK_SOAK") != "1", reason="a million runs take hours: make soak")
@pytest.mark.timeout(0)
def test_a_million_runs_keep_the_promises() -> None:
    seconds = float(os.environ.get("FEDTRACK_SOAK_SECONDS", 0)) or 600.0
    done = _run(2_000, 2_000 + _SOAK_SEEDS, monotonic() + seconds)
    print(f"{done:,} simulated runs, seeds 2,000 to {1_999 + done:,}")
    assert done > 0
