"""Room: a collector says that it is full before the disk is, and takes records again when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.collector import room as module
from fedtrack.collector.room import Room, size_of


def test_files_are_counted_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 1000)
    (tmp_path / "link").symlink_to("/usr")
    assert 1000 <= size_of(tmp_path) < 2000


def test_it_is_full_and_then_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0)
    room = Room(tmp_path, 5000)
    assert room.full == ""
    (tmp_path / "file").write_bytes(b"x" * 6000)
    room.look()
    assert "may hold 5,000 (--max-bytes)" in room.full
    (tmp_path / "file").unlink()
    room.look()
    assert room.full == ""


def test_the_disks_last_bytes_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESERVE_BYTES", 2**62)
    assert "bytes left" in Room(tmp_path).full
