"""What holds for every test."""

from __future__ import annotations

import sys

import pytest

#: Folders of tests that run jobs in the test's own process.
_RUN_JOBS = {"engines", "e2e", "compat", "job", "cli", "docs", "packaging", "campaigns"}


@pytest.fixture(autouse=True)
def _light_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide torch from tests that run jobs, whatever other tests of this worker have imported.

    A process that has imported torch gets a server of its own (tests/e2e/test_torch_job.py), and what these tests look
    at would happen there.
    """
    if _RUN_JOBS & set(request.path.parts):
        monkeypatch.delitem(sys.modules, "torch", raising=False)
