"""Format 1: read as it is, and migrated so that a kill at any moment loses nothing."""

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import pytest

from fedtrack.delivery.ledger import LEDGER_FILE, Cursor, DeadLetter, Ledger
from fedtrack.journal.journal import Goodbye, Journal
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.records import Gap, Metric, encode

STREAM, OTHER = "ab" * 16, "cd" * 16

#: As version 0.1 made them.
FORMAT_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, stream TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, n INTEGER NOT NULL,
    body BLOB NOT NULL, crc INTEGER NOT NULL, recv_ns INTEGER NOT NULL);
CREATE TABLE hw (
    site TEXT NOT NULL, stream TEXT NOT NULL, last INTEGER NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (site, stream)) WITHOUT ROWID;
CREATE TABLE gap (
    id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, stream TEXT NOT NULL,
    first INTEGER, last INTEGER, bytes INTEGER NOT NULL, reason TEXT NOT NULL, recv_ns INTEGER NOT NULL);
CREATE TABLE cursor (
    receiver TEXT PRIMARY KEY, batch INTEGER NOT NULL,
    delivered INTEGER NOT NULL, skipped INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead (
    receiver TEXT NOT NULL, batch INTEGER NOT NULL, seq INTEGER NOT NULL, error TEXT NOT NULL,
    payload BLOB NOT NULL, PRIMARY KEY (receiver, batch, seq)) WITHOUT ROWID;
"""

#: What was lost, as version 0.1 said it, and the kind that it is now.
LOSSES = {
    "40 damaged bytes at offset 52 of x.spool": (40, None, None, "damaged"),
    "records 1 to 7 of a stream are in no spool any more, and not in this journal: an older one": (0, 1, 7, "missing"),
    "7 events that the server once had": (0, 1, 7, "missing"),
    "batch 2 of the journal was changed after it was written: 1 of 3 events": (22, None, None, "changed"),
    "the journal of this run was removed: events that were only in it": (0, None, None, "journal"),
    "record 2 is of 'x', which is not one of its sites": (0, 2, 2, "refused"),
}
PAYLOADS = [encode(Metric(1, "loss", 0.5)), encode(Gap(2, 7, "full")), encode(Metric(3, "loss", 0.25))]
FINAL = {STREAM: 3, OTHER: 9}
BYE = {"run_id": "r", "final": FINAL, "logged": 12, "dropped": 2, "error": "why", "type": "bye"}
LETTER = DeadLetter("mlflow", "a", STREAM, 3, 1, "refused", PAYLOADS[2])


def make_format_1(path: Path) -> None:
    salt = frames.salt_of(STREAM)
    body = b"".join(frames.frame(seq, payload, salt) for seq, payload in enumerate(PAYLOADS, start=1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(FORMAT_1)
        meta = {
            "format": "1",
            "run_id": "r",
            "bye/a": json.dumps(BYE),
            "said_bye": '["a"]',
            "pruned:b": "5",
            "dropped:mlflow": "2",
        }
        connection.executemany("INSERT INTO meta VALUES (?,?)", meta.items())
        row = ("a", STREAM, 1, 3, 3, body, crc32(body), 10)
        connection.execute(
            "INSERT INTO batch (site, stream, first, last, n, body, crc, recv_ns) VALUES (?,?,?,?,?,?,?,?)", row
        )
        connection.executemany("INSERT INTO hw VALUES (?,?,?,?)", [("a", STREAM, 3, 3), ("b", OTHER, 5, 5)])
        for reason, (size, first, last, _) in LOSSES.items():
            connection.execute(
                "INSERT INTO gap (site, stream, first, last, bytes, reason, recv_ns) VALUES ('a',?,?,?,?,?,1)",
                (STREAM, first, last, size, reason),
            )
        connection.execute("INSERT INTO cursor VALUES ('mlflow', 1, 1, 1, 1)")
        connection.execute("INSERT INTO dead VALUES ('mlflow', 1, 3, 'refused', ?)", (PAYLOADS[2],))
        connection.commit()


def check(folder: Path, *, read_only: bool) -> None:
    """Look for everything that was in the journal, whatever format it has now."""
    journal = Journal(folder / "journal.db", read_only=read_only)
    ledger = Ledger(folder / LEDGER_FILE, journal, read_only=read_only)
    try:
        (batch,) = journal.read(0)
        assert [bytes(payload) for _, payload in frames.split(batch.body)] == PAYLOADS
        assert (batch.count, batch.recount(), batch.lost) == (3, 3, 0)
        assert (journal.counts(), journal.pruned("b"), journal.meta("run_id")) == ({"a": 3, "b": 5}, 5, "r")
        assert journal.high_waters("a") == {STREAM: 3}
        assert {gap.reason: (gap.size, gap.first, gap.last, gap.kind) for gap in journal.gaps()} == LOSSES
        assert journal.goodbyes.all() == {"a": Goodbye(FINAL, 12, 2, 0, 0, "why")}
        assert not journal.goodbyes.has_everything_of("a")
        assert ledger.cursors() == {"mlflow": Cursor(1, 1, 1, 1)}
        assert ledger.dead_letters() == [LETTER]
        assert len(ledger.dropped("mlflow")) == 2
        assert len(ledger.gaps(journal)) == len(LOSSES)
    finally:
        ledger.close()
        journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    make_format_1(made / "journal.db")
    return made


def test_format_1_is_read_and_not_written(folder: Path) -> None:
    before = (folder / "journal.db").read_bytes()
    check(folder, read_only=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"journal.db": before}


def test_format_1_in_a_folder_that_cannot_be_written_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a read-only disk; a test may run as root
    check(folder, read_only=True)
    assert [path.name for path in folder.iterdir()] == ["journal.db"]


def test_what_a_killed_server_left_in_its_log_is_read_migrated_and_copied(folder: Path, tmp_path: Path) -> None:
    writer = sqlite3.connect(folder / "journal.db")
    writer.execute("INSERT INTO meta VALUES ('late', 'x')")
    writer.commit()
    killed = tmp_path / "killed"
    shutil.copytree(folder, killed)  # with the log, which nobody has merged
    writer.close()
    journal = Journal(killed / "journal.db", read_only=True)
    assert journal.meta("late") == "x"
    journal.close()
    check(killed, read_only=True)
    check(killed, read_only=False)
    with closing(sqlite3.connect(killed / "journal.db.format-1")) as copy:
        assert copy.execute("SELECT value FROM meta WHERE key = 'late'").fetchone() == ("x",)


def test_the_migrated_journal_goes_on_and_the_copy_is_private(folder: Path) -> None:
    check(folder, read_only=False)
    names = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert set(names) == {"journal.db", "journal.db.format-1", "delivery.db", "delivery.lock"}
    assert names["journal.db.format-1"] == 0o600
    journal = Journal(folder / "journal.db")
    salt = frames.salt_of(STREAM)
    journal.apply("a", STREAM, [FrameRange(4, 4, 1, frames.frame(4, PAYLOADS[0], salt), 2)])
    assert journal.counts() == {"a": 4, "b": 5}
    journal.close()
    with closing(sqlite3.connect(folder / "journal.db.format-1")) as copy:
        assert copy.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == ("1",)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: a kill is no loss of power, and nothing has to wait for a disk."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else tmp_path
    with TemporaryDirectory(dir=place) as made:
        yield Path(made)


class Killing(sqlite3.Connection):
    """A connection in whose process only so many more things are done."""

    left = 0

    @classmethod
    def tick(cls) -> None:
        cls.left -= 1
        if cls.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def execute(self, *arguments: Any) -> Any:
        self.tick()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        self.tick()
        return super().executemany(*arguments)

    def backup(self, *arguments: Any, **options: Any) -> None:
        self.tick()
        super().backup(*arguments, **options)
        self.tick()


def migrate_and_die(folder: Path, after: int) -> bool:
    """Migrate in a process that is killed after so many steps; return whether it lived."""
    pid = os.fork()
    if pid == 0:
        try:
            connect, replace, fsync = sqlite3.connect, Path.replace, os.fsync
            sqlite3.connect = lambda *a, **k: connect(*a, **k, factory=Killing)  # type: ignore[assignment]
            Path.replace = lambda *a: (Killing.tick(), replace(*a), Killing.tick())[1]  # type: ignore[assignment,method-assign]
            os.fsync = lambda *a: (Killing.tick(), fsync(*a))[1]  # type: ignore[assignment]
            Killing.left = after
            journal = Journal(folder / "journal.db")
            Ledger(folder / LEDGER_FILE, journal).close()
            journal.close()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0
    return status == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a test runner may have threads
def test_a_kill_at_any_step_of_the_migration_loses_nothing(folder: Path, memory: Path) -> None:
    kills, lived = 0, False
    while not lived:
        victim = memory / f"killed-{kills}"
        shutil.copytree(folder, victim)
        lived = migrate_and_die(victim, kills + 1)
        check(victim, read_only=True)
        if kills % 4 == 0:
            migrate_and_die(victim, kills // 2 + 1)  # once more, somewhere else
        check(victim, read_only=False)
        kills += 1
    assert kills > 30


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_that_open_it_migrate_it_once(folder: Path) -> None:
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                Journal(folder / "journal.db").close()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    check(folder, read_only=False)
    with closing(sqlite3.connect(folder / "journal.db.format-1")) as copy:
        assert copy.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == ("1",)
