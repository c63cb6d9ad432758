"""Settings of every test."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def _light_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide torch from tests that do not say that they use it, whatever other tests of this worker have imported.

    A process that has imported torch gets a server of its own (tests/e2e/test_torch_job.py), and what tests of jobs
    look at would happen there.
    """
    if request.node.get_closest_marker("torch") is None:
        monkeypatch.delitem(sys.modules, "torch", raising=False)
