"""The private folder of a server's socket: short, private, and gone with its server, however that ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack_local.processes import runtime_folder
from fedtrack_local.processes.runtime_folder import MAX_ADDRESS, RuntimeFolder

KILLED = """
import os, socket
from fedtrack_local.processes.runtime_folder import RuntimeFolder
folder = RuntimeFolder()
server = socket.socket(socket.AF_UNIX)
server.bind(folder.address)
print(folder.path, flush=True)
input()
"""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder with a short path, as XDG_RUNTIME_DIR is."""
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    return made


def test_it_is_private_short_and_gone_afterwards(base: Path) -> None:
    folder = RuntimeFolder()
    assert folder.path.parent == base
    assert folder.path.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(folder.address)
    folder.close()
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("fault", ["open to others", "too long", "missing", "relative", "a file"])
def test_a_folder_that_is_not_usable_is_not_used(fault: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = base
    if fault == "open to others":
        base.chmod(0o755)
    elif fault == "too long":
        place = base / ("x" * 90)
        place.mkdir(mode=0o700)
    elif fault == "missing":
        place = base / "nothing"
    elif fault == "a file":
        place = base / "file"
        place.touch(mode=0o600)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run" if fault == "relative" else str(place))
    folder = RuntimeFolder()
    try:
        assert not folder.path.is_relative_to(base)
        assert len(folder.address.encode()) <= MAX_ADDRESS
        assert folder.path.stat().st_mode & 0o777 == 0o700
    finally:
        folder.close()


def test_a_long_folder_for_temporary_files_does_not_matter(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = RuntimeFolder()
    folder.close()
    assert len(folder.address.encode()) <= MAX_ADDRESS


def test_the_folder_of_a_killed_server_is_removed_by_the_next_one_and_that_of_a_living_one_stays(base: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (dead, left), (alive, kept) = start(), start()
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert left.exists()
    RuntimeFolder().close()
    assert not left.exists()
    assert (kept / "server").exists()
    alive.communicate("\n")
    RuntimeFolder().close()
    assert list(base.iterdir()) == []


def test_what_only_looks_like_one_of_ours_is_left_alone(base: Path) -> None:
    others = base / "fedtrack-notes"
    others.mkdir()
    (others / "thesis.txt").write_text("text")
    (base / "fedtrack-link").symlink_to(others)
    new = base / "fedtrack.new-abc"
    new.mkdir()
    old = base / "fedtrack.new-old"
    old.mkdir()
    os.utime(old, (0, 0))
    RuntimeFolder().close()
    assert sorted(path.name for path in base.iterdir()) == ["fedtrack-link", "fedtrack-notes", "fedtrack.new-abc"]
    assert (others / "thesis.txt").read_text() == "text"


def test_without_any_folder_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtime_folder, "_bases", lambda: iter([tmp_path / "missing"]))
    with pytest.raises(WorkspaceError, match=r"missing \(No such file or directory\); set XDG_RUNTIME_DIR to a folder"):
        RuntimeFolder()
