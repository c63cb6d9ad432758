"""Journal: every event exactly once and in order, also if it is applied again, by two servers, or on a bad disk."""

import os
import random
import sqlite3
import stat
from pathlib import Path

import pytest

from fedtrack.errors import DamagedError, WorkspaceError
from fedtrack.journal import schema
from fedtrack.journal.journal import GapKind, Goodbye, Journal, StoredGap
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange

STREAM = "ab" * 16


def make_run(seqs: list[int], stream: str = STREAM, size: int = 4) -> FrameRange:
    salt = frames.salt_of(stream)
    return FrameRange(
        seqs[0], seqs[-1], len(seqs), b"".join(frames.frame(s, s.to_bytes(size, "big"), salt) for s in seqs)
    )


def stored(journal: Journal) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    after = 0
    while batches := journal.read(after, limit_bytes=100):
        for batch in batches:
            events = [(seq, bytes(payload)) for seq, payload in frames.split(batch.body)]
            assert all(int.from_bytes(payload, "big") == seq for seq, payload in events)
            assert len(events) == batch.count
            found.setdefault((batch.site, batch.stream), []).extend(seq for seq, _ in events)
            after = batch.id
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run" / "journal.db")


@pytest.mark.threat("T10")
def test_the_files_are_private(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([1])])
    paths = list(journal.path.parent.iterdir())
    assert len(paths) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700
    journal.close()
    assert [path.name for path in journal.path.parent.iterdir()] == ["journal.db"]


def test_duplicates_and_overlaps_are_stored_once(journal: Journal) -> None:
    assert journal.apply("a", STREAM, [make_run([1, 2, 5])]) == 5
    assert journal.apply("a", STREAM, [make_run([1, 2, 5])]) == 5
    assert journal.apply("a", STREAM, [make_run([2, 5, 6, 9]), make_run([6, 9, 10])]) == 10
    assert journal.apply("a", STREAM, []) == 10
    assert stored(journal) == {("a", STREAM): [1, 2, 5, 6, 9, 10]}
    assert journal.counts() == {"a": 6}
    assert journal.high_waters("a") == {STREAM: 10}


@pytest.mark.threat("T1")
def test_the_same_stream_of_another_site_is_another_stream(journal: Journal) -> None:
    journal.apply_all([("a", STREAM, make_run([1, 2])), ("b", STREAM, make_run([1])), ("a", STREAM, make_run([3]))])
    assert stored(journal) == {("a", STREAM): [1, 2, 3], ("b", STREAM): [1]}
    assert journal.counts() == {"a": 3, "b": 1}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.threat("T13")
def test_whatever_is_sent_again_the_journal_is_as_if_it_were_sent_once(journal: Journal, seed: int) -> None:
    source = random.Random(seed)
    sent, mark = 0, 0
    while mark < 200:
        start = source.randint(max(1, mark - 20), mark + 1)  # never beyond what is acknowledged
        seqs = list(range(start, start + source.randint(1, 15)))
        cut = source.randint(1, len(seqs))
        runs = [make_run(part) for part in (seqs[:cut], seqs[cut:]) if part]
        if source.random() < 0.3:
            runs.insert(0, runs[-1] if start == mark + 1 and len(runs) == 1 else runs[0])
        mark = journal.apply("a", STREAM, runs)
        sent += 1
    assert stored(journal) == {("a", STREAM): list(range(1, mark + 1))}
    assert journal.counts() == {"a": mark}


def test_everything_survives_reopening(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([1, 2])])
    journal.set_meta("run_id", "r1")
    journal.close()
    again = Journal(journal.path)
    assert stored(again) == {("a", STREAM): [1, 2]}
    assert again.meta("run_id") == "r1"
    assert again.apply("a", STREAM, [make_run([2, 3])]) == 3
    again.close()


def test_a_gap_is_recorded_once_however_often_it_is_found(journal: Journal) -> None:
    for _ in range(3):
        for site in ("a", "b"):
            journal.record_gap(site, STREAM, GapKind.DAMAGED, "35 damaged bytes at offset 52", size=35)
    assert journal.gaps() == [
        StoredGap(site, STREAM, "damaged", "35 damaged bytes at offset 52", size=35) for site in ("a", "b")
    ]


@pytest.mark.parametrize(
    "other",
    [{"first": 101, "last": 105}, {"last": 16}, {"size": 1}, {"reason": "worn"}, {"kind": GapKind.REFUSED}],
)
def test_losses_that_differ_in_anything_but_their_count_are_two(journal: Journal, other: dict[str, object]) -> None:
    loss: dict[str, object] = {"kind": GapKind.MISSING, "reason": "gone", "first": 11, "last": 15, "size": 0}
    for count in (5, None, 4):
        journal.record_gap("a", STREAM, **loss, count=count)  # type: ignore[arg-type]
        journal.record_gap("a", STREAM, **loss | other, count=count)  # type: ignore[arg-type]
    first, second = journal.gaps()
    assert (first.kind, first.count, first.first, first.last) == ("missing", 5, 11, 15)
    assert first != second


def test_read_returns_about_what_was_asked_for(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([seq], size=1000) for seq in range(1, 21)])
    assert [batch.id for batch in journal.read(5, limit_bytes=2500)] == [6, 7, 8]
    assert journal.read(20) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a test runner may have threads
def test_two_processes_that_apply_the_same_store_it_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                journal = Journal(path)
                for start in range(1, 400, 4):
                    journal.apply("a", STREAM, [make_run(list(range(start, start + 4)))])
                journal.close()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert stored(Journal(path)) == {("a", STREAM): list(range(1, 401))}


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_format_is_refused_and_nothing_is_written(journal: Journal, read_only: bool) -> None:
    journal.set_meta("format", "3")
    journal.close()
    before = journal.path.read_bytes()
    with pytest.raises(DamagedError, match="has format 3, this version of fedtrack reads up to 2; upgrade it"):
        Journal(journal.path, read_only=read_only)
    assert journal.path.read_bytes() == before
    assert [path.name for path in journal.path.parent.iterdir()] == ["journal.db"]


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 100, None])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "journal.db"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(WorkspaceError, match="choose another workspace"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_full_disk_acknowledges_nothing_and_recovers(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([1, 2])])
    pages = journal.database.writer.execute("PRAGMA page_count").fetchone()[0]
    journal.database.writer.execute(f"PRAGMA max_page_count={pages + 1}")
    big = [make_run([seq], size=3000) for seq in range(3, 23)]
    with pytest.raises(WorkspaceError, match="full"):
        journal.apply("a", STREAM, big)
    with pytest.raises(WorkspaceError, match="full"):
        journal.record_gap("a", STREAM, GapKind.DAMAGED, "x" * 100_000)
    with pytest.raises(WorkspaceError, match="full"):
        journal.goodbyes.record("a", Goodbye({STREAM: 2}, error="x" * 100_000))
    assert journal.high_water("a", STREAM) == 2
    assert stored(journal) == {("a", STREAM): [1, 2]}
    assert (journal.counts(), journal.gaps(), journal.goodbyes.all()) == ({"a": 2}, [], {})
    journal.database.writer.execute("PRAGMA max_page_count=100000")
    assert journal.apply("a", STREAM, big) == 22
    assert stored(journal) == {("a", STREAM): list(range(1, 23))}


class _FailingConnection:
    """A connection whose next commits fail, as they do when the disk does not confirm an fsync."""

    def __init__(self, real: sqlite3.Connection, failures: int) -> None:
        self._real, self._failures = real, failures

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if sql == "COMMIT" and self._failures:
            self._failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(sql, *arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_a_commit_that_fails_acknowledges_nothing_and_recovers(journal: Journal) -> None:
    real = journal.database.writer
    journal.database.writer = _FailingConnection(real, 2)  # type: ignore[assignment]
    for _ in range(2):
        with pytest.raises(WorkspaceError, match="disk I/O error"):
            journal.apply("a", STREAM, [make_run([1, 2])])
        assert journal.high_water("a", STREAM) == 0
        assert stored(journal) == {}
    assert journal.apply("a", STREAM, [make_run([1, 2])]) == 2
    assert stored(journal) == {("a", STREAM): [1, 2]}


def test_a_commit_is_synchronous(journal: Journal) -> None:
    assert journal.database.writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal.database.writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_of_a_damaged_row_what_is_intact_is_read_and_the_rest_counted_without_a_write(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([1, 2]), make_run([3, 4, 5]), make_run([6])])
    body = bytearray(make_run([3, 4, 5]).body)
    body[30] ^= 1
    journal.database.writer.execute("UPDATE batch SET body = ? WHERE id = 2", (bytes(body),))
    for _ in range(2):
        assert stored(journal) == {("a", STREAM): [1, 2, 3, 5, 6]}
        assert [(batch.lost, batch.lost_bytes) for batch in journal.read(0)] == [(0, 0), (1, 22), (0, 0)]
    assert "1 of 3 events" in journal.read(1)[0].damage
    assert journal.gaps() == []


def test_a_damaged_file_is_an_error_that_names_it(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([seq], size=3000) for seq in range(1, 30)])
    journal.close()
    data = bytearray(journal.path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    journal.path.write_bytes(data)
    with pytest.raises(WorkspaceError, match=r"journal\.db"):
        Journal(journal.path).read(0)


def test_the_format_is_the_one_that_golden_files_are_kept_for() -> None:
    assert (schema.FORMAT, frames.VERSION) == (2, 2), "add golden files of the new format to tests/data"
