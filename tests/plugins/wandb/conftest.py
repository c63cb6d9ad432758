"""A receiver in a folder of its own, without this machine's settings of W&B, and the processes that it started."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack import Batch, RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Record
from fedtrack_wandb.receiver import WandBReceiver

from .wandb_server import WandBServer

STREAM = "0" * 32

MakeReceiver = Callable[..., WandBReceiver]


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep wandb out of HOME, and fail a test that leaves a wandb-core behind."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home, elsewhere = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("wandb")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    for kind in ("CONFIG", "CACHE", "DATA", "ARTIFACT"):
        monkeypatch.setenv(f"WANDB_{kind}_DIR", str(elsewhere / kind.lower()))
    monkeypatch.setenv("WANDB_DIR", str(elsewhere))
    yield
    deadline = time.monotonic() + 10
    while (left := core_pids()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, "the test left a wandb-core process behind"
    assert not list(home.iterdir()), "wandb wrote to HOME"


@pytest.fixture
def run_info(tmp_path: Path) -> RunInfo:
    folder = tmp_path / "server" / "simulate_job"
    return RunInfo("job-1a2b", "hello", folder, "server", ("site-1", "site-2"), 0, BlobStore(tmp_path / "blobs"))


@pytest.fixture
def make_receiver(run_info: RunInfo) -> Iterator[MakeReceiver]:
    """Open receivers; close the ones that the test has not closed."""
    opened: list[WandBReceiver] = []

    def make(**options: Any) -> WandBReceiver:
        receiver = WandBReceiver(**options)
        receiver.open(run_info)
        opened.append(receiver)
        return receiver

    yield make
    for receiver in opened:
        receiver.close("aborted")


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandBServer]:
    """A W&B server that this process has credentials for."""
    server = WandBServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    yield server
    server.stop()


def batch(*records: Record, site: str = "site-1", stream: str = STREAM, first: int = 0) -> Batch:
    """Return a batch without holes."""
    return Batch(site, stream, range(first, first + len(records)), records)


def core_pids() -> list[int]:
    """Return the wandb-core processes that this process started and that still run."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,comm="], capture_output=True, text=True, check=True)
    processes = [line.split(None, 3) for line in listing.stdout.splitlines()]
    return [
        int(pid)
        for pid, parent, state, command in processes
        if parent == str(os.getpid()) and "wandb-core" in command and not state.startswith("Z")
    ]
