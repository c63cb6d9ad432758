"""A full disk stops a run for as long as it is full, and no longer; nothing is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.files import NoRoomError, unwritable
from fedtrack.runs.stored_run import find_run
from fedtrack.runs.stored_tally import tally_of
from fedtrack_local.models.params import save_params
from fedtrack_local.room import when_there_is_room

from .conftest import MakeJob


def test_a_write_is_repeated_while_the_disk_is_full(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def write() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise unwritable("model", OSError(errno.ENOSPC, "No space left on device"))
        return "written"

    assert when_there_is_room(write) == "written"
    assert len(calls) == 3
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "the training waits until there is room on the disk: Cannot write model: No space left" in said[0]
    assert "the training goes on" in said[1]


def test_other_errors_are_not_waited_for() -> None:
    def write() -> None:
        raise unwritable("model", PermissionError(errno.EACCES, "Permission denied"))

    with pytest.raises(WorkspaceError, match="Cannot write model: Permission denied; free space or check rights"):
        when_there_is_room(write)


Mount = Callable[[Path], Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Return a function that mounts a file system with 3 MiB at a folder, and returns that folder."""
    places: list[Path] = []

    def work(place: Path) -> Path:
        place.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("only root may mount a file system")
        places.append(place)
        return place

    yield work
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Fill a file system to its last byte."""
    filler = place / "filler"
    for size in (65_536, 512, 1):
        try:
            with filler.open("ab", buffering=0) as file:
                while file.write(b"x" * size) == size:
                    pass
        except OSError:
            continue
    return filler


def test_a_model_waits_for_a_real_disk(mount: Mount, tmp_path: Path) -> None:
    small_disk = mount(tmp_path / "disk")
    filler = fill(small_disk)
    with pytest.raises(NoRoomError, match="No space left"):
        save_params({"w": np.zeros(10_000)}, small_disk / "model.safetensors")
    threading.Timer(1.0, filler.unlink).start()
    when_there_is_room(lambda: save_params({"w": np.zeros(10_000)}, small_disk / "model.safetensors"))
    assert (small_disk / "model.safetensors").exists()


TRAIN = "import time; time.sleep(0.3)"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["server", "."])
def test_a_run_goes_on_when_a_disk_that_was_full_has_room_again(
    make_job: MakeJob, tmp_path: Path, mount: Mount, place: str
) -> None:
    """The disk of the server alone, and the disk of the whole workspace."""
    workspace = tmp_path / "ws"
    small_disk = mount(workspace / place)
    make_job(TRAIN, num_rounds=4).export_job(tmp_path / "jobs")
    command = [sys.executable, "-m", "fedtrack", "run", str(tmp_path / "jobs" / "test-job"), "-w", str(workspace)]
    with (tmp_path / "out.txt").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 60
            while not list(workspace.glob("server/simulate_job/rounds.msgpack")) and time.monotonic() < deadline:
                time.sleep(0.05)
            filler = fill(small_disk)
            time.sleep(4)
            assert process.poll() is None, "it must not end"
            filler.unlink()
            code = process.wait(100)
        finally:
            process.kill()
            process.wait()
    said = (tmp_path / "out.txt").read_text()
    assert "completed in" in said, said
    tally = tally_of(find_run(workspace))
    for name in ("site-1", "site-2"):
        site = tally.sites[name]
        assert site.calls == 4 * 50
        assert site.journaled == site.logged == 4 * 50 - (site.dropped or 0)
        if place == "server":
            assert site.dropped == 0
    assert (code == 0) == tally.events_complete
    assert tally.waiting == {}
