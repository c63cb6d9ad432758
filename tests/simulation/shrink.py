"""Shrink: find the fewest steps that break the same invariant, by delta debugging (Zeller and Hildebrandt, 2002)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulation.plan import Plan, Step

#: More runs would keep a developer waiting.
_RUNS = 400


def shrink(plan: Plan, broken: str, simulate: Callable[[Plan], str]) -> tuple[Plan, str]:
    """Return a plan from which no single step can be left out, and what it breaks.

    Args:
        plan: A plan that breaks an invariant.
        broken: What it breaks; the word before the colon is the invariant.
        simulate: Runs a plan and returns what it breaks, or "".
    """
    invariant, left = broken.partition(":")[0], _RUNS
    last = broken

    def fails(steps: Sequence[Step]) -> bool:
        nonlocal left, last
        left -= 1
        found = simulate(plan._replace(steps=tuple(steps))) if left >= 0 else ""
        if found.partition(":")[0] != invariant:
            return False
        last = found
        return True

    steps = list(plan.steps)
    size = max(1, len(steps) // 2)
    while True:
        start = 0
        shorter = False
        while start < len(steps):
            rest = steps[:start] + steps[start + size :]
            if fails(rest):
                steps, shorter = rest, True
            else:
                start += size
        if size == 1 and not shorter:
            return plan._replace(steps=tuple(steps)), last
        size = max(1, size // 2)
