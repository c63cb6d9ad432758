"""The disk of the simulation loses what was not synced, and nothing else."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest
from simulation.databases import simulated_databases
from simulation.disk import Disk, Killed, Process
from simulation.files import Files


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "disk")


def write(path: Path, data: bytes, *, sync: bool = False, names: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, data)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    if names:
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_survives_and_what_was_not_may_not(disk: Disk, seed: int) -> None:
    files, process, path = Files([disk]), Process("p"), Path(disk.root) / "file"
    with files.in_use(), files.running(process):
        write(path, b"safe", sync=True, names=True)
        write(path, b" and not safe")
        write(path.with_name("nameless"), b"content", sync=True)
    disk.lose_power(random.Random(seed))
    left = path.read_bytes()
    assert left[:4] == b"safe"
    assert b" and not safe".startswith(left[4:])
    if path.with_name("nameless").exists():
        assert path.with_name("nameless").read_bytes() == b"content"


def test_every_part_of_a_write_can_survive(tmp_path: Path) -> None:
    left = set()
    for seed in range(80):
        disk = Disk(tmp_path / str(seed))
        files, path = Files([disk]), Path(disk.root) / "file"
        with files.in_use(), files.running(Process("p")):
            write(path, b"", sync=True, names=True)
            write(path, b"ab")
        disk.lose_power(random.Random(seed))
        left.add(path.read_bytes())
    assert left == {b"", b"a", b"ab"}


def test_a_killed_process_makes_no_further_change(disk: Disk) -> None:
    files, process, path = Files([disk]), Process("p", fuse=2, torn=0.5), Path(disk.root) / "file"
    with files.in_use(), files.running(process):
        write(path, b"first")
        with pytest.raises(Killed):
            write(path, b"seconds!")
        with pytest.raises(Killed):
            write(path, b"third")
        with pytest.raises(Killed):
            path.unlink()
    assert path.read_bytes() == b"firstseco"


@pytest.mark.parametrize("synchronous", ["FULL", "OFF"])
def test_a_database_keeps_its_commits_if_they_wait_for_the_disk(tmp_path: Path, synchronous: str) -> None:
    lost = 0
    for seed in range(20):
        disk = Disk(tmp_path / str(seed))
        files, process, path = Files([disk]), Process("p"), Path(disk.root) / "a.db"
        with files.in_use(), simulated_databases():
            with files.running(process):
                connection = sqlite3.connect(path, isolation_level=None)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("CREATE TABLE t (n)")
                disk.make_safe()
                connection.execute(f"PRAGMA synchronous={synchronous}")
                for number in range(5):
                    connection.execute("INSERT INTO t VALUES (?)", (number,))
            files.bury(process)
            disk.lose_power(random.Random(seed))
            with files.running(Process("q")):
                after = sqlite3.connect(path, isolation_level=None)
                lost += 5 - len(after.execute("SELECT n FROM t").fetchall())
                after.close()
    assert (lost > 0) == (synchronous == "OFF")


def test_a_full_disk_takes_a_part_of_a_write(disk: Disk) -> None:
    files, path = Files([disk]), Path(disk.root) / "file"
    with files.in_use(), files.running(Process("p")):
        disk.room = 3
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        assert os.write(descriptor, b"abcdef") == 3
        with pytest.raises(OSError, match="No space"):
            os.write(descriptor, b"def")
        os.close(descriptor)
    assert (path.read_bytes(), disk.refused) == (b"abc", 2)
