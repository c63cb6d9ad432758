"""The fixtures that pytest offers wherever fedtrack is installed.

pytest imports this module at every start, so it imports nothing of fedtrack until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fedtrack.testing.doubles import MemoryLog
    from fedtrack.tracking.receiver import RunInfo

# The laws are asserts in a library; without this a broken law would not show its values.
pytest.register_assert_rewrite("fedtrack.testing.laws")


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
