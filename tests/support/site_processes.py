"""Real processes of sites and workers, all forked from one fork server, which is what takes the time to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from textwrap import dedent
from time import monotonic
from typing import Any

import pytest

from fedtrack_local.processes.messages import Exited, SiteSpec, WorkerSpec
from fedtrack_local.processes.sites import FromPool, SitePool

_NUMBERS = count(1)

#: How long a test waits for a process before it fails.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def fork_server() -> Iterator[SitePool]:
    """A pool whose fork server has imported what sites without torch need."""
    pool = SitePool()
    pool.preload(["numpy", "fedtrack_local.models.params"])
    yield pool
    pool.close()


@pytest.fixture
def pool(fork_server: SitePool) -> Iterator[SitePool]:
    """The same; what a test has started in it is ended with the test."""
    yield fork_server
    left = set(fork_server._alive)
    for name in left:
        fork_server.kill(name)
    collect(fork_server, lambda events: not left & fork_server._alive)


def collect(pool: SitePool, is_enough: Callable[[list[FromPool]], object]) -> list[FromPool]:
    """Return what happens until it is enough."""
    events: list[FromPool] = []
    deadline = monotonic() + PATIENCE
    while not is_enough(events):
        assert monotonic() < deadline, events
        events += pool.wait(0.1)
    return events


def until_exit(pool: SitePool, name: str) -> list[Any]:
    """Return what a process says until it is gone."""
    ended = collect(pool, lambda events: any(e.site == name and isinstance(e.message, Exited) for e in events))
    return [event.message for event in ended if event.site == name]


def site_spec(folder: Path, script: str, **changes: Any) -> SiteSpec:
    """Return the spec of a site whose files are all in ``folder``; its name is that of no other one."""
    (folder / "exchange").mkdir(parents=True, exist_ok=True)
    (folder / "client.py").write_text(dedent(script))
    settings: dict[str, Any] = {
        "name": f"site-{next(_NUMBERS)}",
        "run_id": "r",
        "script": str(folder / "client.py"),
        "args": [],
        "custom": str(folder),
        "spool": str(folder / "spool"),
        "exchange": str(folder / "exchange"),
        "log": str(folder / "log.txt"),
        "framework": "numpy",
        "external": [],
        "environment": {},
        "threads": 1,
        "config": {},
        "memory": 2**20,
    }
    return SiteSpec(**settings | changes)


def worker_spec(folder: Path, script: str, **changes: Any) -> WorkerSpec:
    """Return the spec of a worker whose files are all in ``folder``; its name is that of no other one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(dedent(script))
    settings: dict[str, Any] = {
        "name": f"@worker-{next(_NUMBERS)}",
        "run_id": "r",
        "script": str(folder / "app.py"),
        "app": "app",
        "args": {},
        "custom": str(folder),
        "spool": str(folder / "spool"),
        "states": str(folder / "states"),
        "position": str(folder / "position"),
        "log": str(folder / "log.txt"),
        "framework": "numpy",
        "environment": {},
        "threads": 1,
        "total_sites": 3,
        "durability": "process",
        "spool_limit": 2**20,
    }
    return WorkerSpec(**settings | changes)
