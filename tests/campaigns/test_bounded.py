"""The resources of a process do not grow with the number of its jobs. FEDTRACK_SOAK=1 runs 100 of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .soak import SOAK

JOBS = 100 if SOAK else 20


@pytest.mark.timeout(900)
def test_descriptors_threads_and_children_are_constant_over_many_jobs(tmp_path: Path) -> None:
    # A process of its own: in this one, another test may have imported torch, and jobs would run elsewhere.
    script = Path(__file__).parent / "many_jobs.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(JOBS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(samples) == JOBS
    print(f"{JOBS} jobs; after the first two {samples[1]}, at the end {samples[-1]}")
    for name in ("descriptors", "threads", "children"):
        assert {sample[name] for sample in samples[1:]} == {samples[1][name]}, name
    assert samples[-1]["memory"] - samples[1]["memory"] < 20 + 0.1 * JOBS
