"""A file is written whole, or not changed at all."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.files import NotPlainError, open_plain, read_plain, scratch_folder, write_whole, written_beside


@contextmanager
def _full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"a" * 10_000, b"short", b""):
        write_whole(path, data)
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (data, 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")
    with _full_disk(4_096), pytest.raises(WorkspaceError, match=r"Cannot write .*file: File too large; free space"):
        write_whole(path, b"a" * 10_000)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="gone/file: No such file or directory; free space or check rights"):
        write_whole(tmp_path / "gone" / "file", b"data")


def test_a_block_that_raises_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")
    with contextlib.suppress(RuntimeError), written_beside(path) as beside:
        beside.write_bytes(b"half")
        raise RuntimeError
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"before", [path])
    with pytest.raises(FileNotFoundError), written_beside(path):
        pass  # nothing was written
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"before", [path])
    with written_beside(path) as beside:
        beside.write_bytes(b"after")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"after", [path])


FILL = """
import sys, time
from pathlib import Path
from fedtrack.files import NotPlainError, open_plain, read_plain, scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "sub").mkdir()
    (folder / "sub" / "artifact").write_bytes(b"x" * 100_000)
    print(folder, flush=True)
    time.sleep(600)
"""


def test_the_scratch_folder_of_a_killed_process_is_deleted_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as living,
    ):
        assert killed.stdout is not None
        assert living.stdout is not None
        left, used = Path(killed.stdout.readline().strip()), Path(living.stdout.readline().strip())
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "sub" / "artifact").exists()
        with scratch_folder(tmp_path) as own:
            assert {*(tmp_path / "scratch").iterdir()} == {used, own}
            assert own.stat().st_mode & 0o777 == 0o700
        assert (used / "sub" / "artifact").stat().st_size == 100_000
        living.kill()
    with scratch_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_processes_that_begin_together_have_a_folder_each(tmp_path: Path) -> None:
    def work(number: int) -> bool:
        with scratch_folder(tmp_path) as folder:
            (folder / "file").write_text(str(number))
            return (folder / "file").read_text() == str(number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))
    assert list(tmp_path.iterdir()) == []


def test_a_plain_file_is_opened_and_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"whole")
    assert read_plain(tmp_path / "file", 3) == b"who"
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "none")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("link", "is a link"),
        ("dangling", "is a link"),
        ("loop", "is a link"),
        ("pipe", "is a pipe"),
        ("socket", "is a socket"),
        ("folder", "is a folder"),
        ("device", "is a device"),
    ],
)
def test_what_another_process_puts_in_the_place_of_a_file_is_neither_followed_nor_waited_for(
    tmp_path: Path, kind: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    if kind == "link":
        (tmp_path / "other").write_bytes(b"secret")
        path.symlink_to("other")
    elif kind == "dangling":
        path.symlink_to("none")
    elif kind == "loop":
        path.symlink_to("file")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # the name of a socket has at most 107 bytes
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("file")
    else:
        path = Path("/dev/null")
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    with pytest.raises(NotPlainError, match=said):
        open_plain(path)
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


def test_a_file_of_a_stranger_is_refused_and_one_of_the_folders_owner_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert read_plain(path, 1) == b"x"
    real = Path.stat

    def of_another(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        values = list(real(self, follow_symlinks=follow_symlinks))
        values[4] += 2
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", of_another)
    with pytest.raises(NotPlainError, match="belongs to the user"):
        open_plain(path)
