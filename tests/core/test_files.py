"""A file is written whole, or not changed at all."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.files import write_whole, written_beside


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
