"""What the tests of engines share: one FLARE system, started once."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.nvflare_poc import Poc

if find_spec("nvflare") is None:  # it lives in an environment of its own: make nvflare-env
    collect_ignore = ["nvflare"]


@pytest.fixture(scope="session")
def poc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poc]:
    """A FLARE system with one server and two sites."""
    faults = Path(__file__).parents[1] / "support" / "nvflare_faults"
    system = Poc(tmp_path_factory.mktemp("poc"), python_path=faults)
    system.prepare()
    try:
        system.start()
        yield system
    finally:
        system.stop()
