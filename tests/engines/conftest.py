"""Fixtures for tests of engines: FLARE systems, each started once, and rules for tests that cannot run in parallel."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.nvflare_hospitals import Hospitals
from support.nvflare_poc import Poc

if find_spec("nvflare") is None:  # it lives in an environment of its own: make nvflare-env
    collect_ignore = ["nvflare"]

FAULTS = Path(__file__).parents[1] / "support" / "nvflare_faults"


@pytest.hookimpl(wrapper=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    """Keep a system's tests in one worker: it is started once per worker that needs it."""
    for item in items:
        if "hospitals" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("hospitals"))
        elif "contract" in item.path.parts or "poc" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("contract"))
    return (yield)


@pytest.fixture(scope="session")
def poc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poc]:
    """A POC system."""
    system = Poc(tmp_path_factory.mktemp("poc"), python_path=FAULTS)
    try:
        system.prepare()
        system.start()
        yield system
    finally:
        system.kill()


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    """A provisioned federation."""
    system = Hospitals(tmp_path_factory.mktemp("hospitals"), python_path=FAULTS)
    try:
        system.prepare()
        system.start()
        yield system
    finally:
        system.kill()
