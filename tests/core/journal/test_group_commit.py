"""GroupCommit: batches of many threads share a COMMIT, and a batch that fails is the only one that does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.journal import group_commit
from fedtrack.journal.group_commit import GroupCommit
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.records import Metric, encode

STREAM = "ab" * 16


def run_of(first: int, count: int = 1) -> FrameRange:
    salt = frames.salt_of(STREAM)
    payload = encode(Metric(1, "loss", 0.5))
    body = b"".join(frames.frame(seq, payload, salt) for seq in range(first, first + count))
    return FrameRange(first, first + count - 1, count, body)


class Held:
    """A journal whose first COMMIT waits until ``release`` is set."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.entered, self.release = threading.Event(), threading.Event()
        apply_all = journal.apply_all

        def slow(batches: list[tuple[str, str, FrameRange]]) -> dict[tuple[str, str], int]:
            self.sizes.append(len(batches))
            self.entered.set()
            assert self.release.wait(30)
            return apply_all(batches)

        monkeypatch.setattr(journal, "apply_all", slow)


def waiting(commits: GroupCommit, count: int) -> None:
    for _ in range(3000):
        with commits._lock:
            if len(commits._waiting) == count:
                return
        threading.Event().wait(0.01)
    raise AssertionError(f"{count} batches never waited")


def test_batches_that_come_during_a_commit_share_the_next_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, commits = Held(journal, monkeypatch), GroupCommit(journal)
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(commits.apply, "site-0", STREAM, run_of(1))
        assert held.entered.wait(30)
        others = [pool.submit(commits.apply, f"site-{n}", STREAM, run_of(1, n)) for n in range(1, 10)]
        waiting(commits, 9)
        held.release.set()
        assert first.result() == 1
        assert [other.result() for other in others] == list(range(1, 10))
    assert held.sizes == [1, 9]
    assert journal.counts() == {"site-0": 1} | {f"site-{n}": n for n in range(1, 10)}


def test_a_commit_has_a_bounded_size(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "GROUP_BYTES", 2 * len(run_of(1).body))
    held, commits = Held(journal, monkeypatch), GroupCommit(journal)
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(commits.apply, "site-0", STREAM, run_of(1))]
        assert held.entered.wait(30)
        found += [pool.submit(commits.apply, f"site-{n}", STREAM, run_of(1)) for n in range(1, 6)]
        waiting(commits, 5)
        held.release.set()
        assert [one.result() for one in found] == [1] * 6
    assert held.sizes == [1, 2, 2, 1]


def test_one_batch_that_fails_takes_no_other_with_it(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    held, commits = Held(journal, monkeypatch), GroupCommit(journal)
    bad = FrameRange(1, 2**70, 1, b"")  # no integer of SQLite
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(commits.apply, "site-0", STREAM, run_of(1))
        assert held.entered.wait(30)
        good = [pool.submit(commits.apply, f"site-{n}", STREAM, run_of(1)) for n in (1, 2)]
        failing = pool.submit(commits.apply, "site-3", STREAM, bad)
        waiting(commits, 3)
        held.release.set()
        assert [one.result() for one in (first, *good)] == [1, 1, 1]
        with pytest.raises(OverflowError):
            failing.result()
    assert journal.counts() == {"site-0": 1, "site-1": 1, "site-2": 1}


def test_a_disk_that_fails_is_told_to_all(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> dict[tuple[str, str], int]:
        raise WorkspaceError("full")

    monkeypatch.setattr(journal, "apply_all", full)
    with pytest.raises(WorkspaceError, match="full"):
        GroupCommit(journal).apply("site-1", STREAM, run_of(1))
