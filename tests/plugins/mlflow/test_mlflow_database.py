"""A SQLite store appears complete and once, and the cached template is used only if it can be trusted."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from fedtrack_mlflow import database, template
from fedtrack_mlflow.settings import calm, import_quietly

OPEN = """
import sys, time
from pathlib import Path
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Metric
from fedtrack_mlflow import MLflowReceiver

folder, number = Path(sys.argv[1]), sys.argv[2]
run = RunInfo(f"run-{number}", f"job-{number}", folder / number, "server", (), time.time_ns(), BlobStore(folder))
receiver = MLflowReceiver(f"sqlite:///{folder}/shared.db")
print("ready", flush=True)
sys.stdin.readline()
receiver.open(run)
receiver.receive(Batch("site-1", "a" * 32, [0], [Metric(time.time_ns(), "loss", 0.5, 1)]))
receiver.close("completed")
"""


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    with calm():
        import_quietly("mlflow.store.tracking.sqlalchemy_store")
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fedtrack"


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.timeout(900)  # each imports mlflow, on as many cores as there are
def test_three_processes_open_one_fresh_store_at_once(tmp_path: Path, cache: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outcomes = [process.communicate("go\n", timeout=800) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outcomes
    with closing(sqlite3.connect(tmp_path / "shared.db")) as connection:
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (3,)
        names = {name for (name,) in connection.execute("SELECT name FROM experiments")}
    assert names == {"Default", "job-0", "job-1", "job-2"}
    assert not list(tmp_path.glob(".shared.db.?*[0-9a-f]")), "a half-made store was left behind"


def test_a_copied_store_is_like_a_migrated_one(tmp_path: Path, cache: Path) -> None:
    migrated, copied = tmp_path / "a" / "mlflow.db", tmp_path / "b" / "mlflow.db"
    database.ensure(migrated)
    (kept,) = cache.iterdir()
    assert (cache.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o700, 0o600)
    marked = kept.stat().st_mtime_ns
    database.ensure(copied)
    assert kept.stat().st_mtime_ns == marked
    assert tables(copied) == tables(migrated) >= {"metrics", "runs", "alembic_version"}
    assert copied.stat().st_mode & 0o777 == 0o600
    for path in (migrated, copied):
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
        assert rows == [(f"{path.parent.as_uri()}/mlartifacts/0",)]


def test_a_template_that_others_can_write_or_that_is_damaged_is_not_used(tmp_path: Path, cache: Path) -> None:
    database.ensure(tmp_path / "first.db")
    (kept,) = cache.iterdir()
    target = tmp_path / "copy.db"

    cache.chmod(0o777)
    assert not template.copy_to(target)
    cache.chmod(0o700)
    kept.chmod(0o666)
    assert not template.copy_to(target)
    kept.chmod(0o600)
    assert template.copy_to(target)
    target.unlink()

    whole = kept.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no database", whole[:4096] + bytes(8192) + whole[12288:]):
        kept.write_bytes(damaged)
        assert not template.copy_to(target)
        assert not target.exists()

    kept.write_bytes(whole)
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute("INSERT INTO runs (run_uuid) VALUES ('somebody else')")
    assert not template.copy_to(target)

    moved = kept.rename(tmp_path / "elsewhere.db")
    moved.write_bytes(whole)
    kept.symlink_to(moved)
    assert not template.copy_to(target)


def test_a_process_waits_for_the_one_that_creates_the_store(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    waiting = threading.Thread(target=database.ensure, args=[path])
    with FileLock(tmp_path / ".mlflow.db.lock"):
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert not path.exists()
        path.write_bytes(b"made by the other process")
    waiting.join(30)
    assert path.read_bytes() == b"made by the other process"


def test_an_existing_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"whatever is in here")
    database.ensure(path)
    assert path.read_bytes() == b"whatever is in here"
