"""The fixtures that pytest offers wherever fedtrack is installed.

pytest imports this module at every start, so it imports nothing of fedtrack until a fixture is used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

_stderr = 2

if TYPE_CHECKING:
    from fedtrack.testing.doubles import MemoryLog
    from fedtrack.tracking.receiver import RunInfo

# The laws are asserts in a library; without this a broken law would not show its values.
pytest.register_assert_rewrite("fedtrack.testing.laws")


def pytest_configure(config: pytest.Config) -> None:
    """Keep standard error, which pytest replaces during tests, for the law that cannot be interrupted."""
    global _stderr
    with contextlib.suppress(OSError):
        _stderr = os.dup(2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Limit the time of each law of ``ReceiverContract``; other tests have no limit."""
    seconds = getattr(getattr(item, "cls", None), "law_seconds", None)
    if seconds is None:
        yield
        return
    from fedtrack.testing.law_limit import law_limit

    with law_limit(item.name, seconds, _stderr):
        yield


@pytest.fixture
def memory_log(tmp_path: Path) -> Iterator[MemoryLog]:
    """The record log of this test's writers: a list instead of a site's spool."""
    from fedtrack.testing.doubles import MemoryLog
    from fedtrack.tracking.writer import bind

    log = MemoryLog(tmp_path / "log-blobs")
    previous = bind(log)
    yield log
    bind(previous)


@pytest.fixture
def run_info(tmp_path: Path) -> RunInfo:
    """A run for a receiver's ``open``, with results in ``tmp_path / "run"``."""
    from fedtrack.testing import doubles

    return doubles.run_info(tmp_path / "run")
