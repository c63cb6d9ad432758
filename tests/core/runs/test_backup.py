"""Backup: the copy of a run that goes on has every event that was in its journal or its spools."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

import fedtrack
from fedtrack.connection.run_folder import RunFolder
from fedtrack.errors import ConfigError, WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.runs import backup
from fedtrack.runs.backup import back_up
from fedtrack.runs.rows import rows
from fedtrack.runs.stored_run import StoredRun
from fedtrack.tracking.blobs import BlobStore
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward


def steps(journal: Path) -> list[int]:
    return [row["step"] for row in rows(StoredRun(journal.parents[2]))]


def test_a_live_run_is_copied_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "c", "study-7")
    site = fedtrack.connect(tmp_path / "c", site="hospital-a", run="study-7")
    journal = Journal(folder.server / "journal.db")
    blobs = BlobStore(folder.server / "blobs")
    source = SpoolSource("hospital-a", folder.spool("hospital-a"), journal, blobs)
    over = threading.Event()
    logged = 0

    def work() -> None:
        nonlocal logged
        while not over.is_set():
            site.log({"loss": 1.0}, step=logged)
            logged += 1
            if logged % 50 == 0:
                forward(source)

    thread = threading.Thread(target=work)
    thread.start()
    while logged < 500:
        over.wait(0.01)
    before = logged
    back_up(StoredRun(folder.base), tmp_path / "copy")
    over.set()
    thread.join()
    site.finish()
    copied = Journal(tmp_path / "copy" / "server" / "simulate_job" / "journal.db")
    again = SpoolSource("hospital-a", tmp_path / "copy" / "hospital-a" / "simulate_job" / "spool", copied, blobs)
    again.ended = True
    while forward(again):
        pass
    copied.close()
    journal.close()
    found = steps(tmp_path / "copy" / "server" / "simulate_job" / "journal.db")
    assert found == list(range(len(found)))
    assert len(found) >= before


def test_the_copy_is_for_its_owner(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "c", "study-7")
    folder.create("a" * 32, 1)
    Journal(folder.server / "journal.db").close()
    os.symlink("/etc/passwd", folder.server / "link")  # noqa: PTH211 - as a stranger plants it
    assert back_up(StoredRun(folder.base), tmp_path / "copy") > 0
    for path in (tmp_path / "copy").rglob("*"):
        assert not path.is_symlink()
        if path.suffix == ".db":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "c", "study-7")
    folder.create("a" * 32, 1)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").touch()
    with pytest.raises(ConfigError, match="not empty"):
        back_up(StoredRun(folder.base), tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["mine"]


def test_half_a_copy_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "c", "study-7")
    folder.create("a" * 32, 1)
    Journal(folder.server / "journal.db").close()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(backup, "_copy_database", full)
    with pytest.raises(WorkspaceError, match="is full"):
        back_up(StoredRun(folder.base), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
