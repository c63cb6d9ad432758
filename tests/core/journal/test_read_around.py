"""A damaged journal: what is intact is read in order, and what is gone is counted, whatever part of the file is hit."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import GapKind, Goodbye, Journal
from fedtrack.journal.rescue import rescue
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.counts import Counts
from support.forwarding import until

STREAMS = {"site-1": "ab" * 16, "site-2": "cd" * 16}
PAGE = 4096


def make_run(stream: str, first: int, count: int, size: int) -> FrameRange:
    salt = frames.salt_of(stream)
    body = b"".join(frames.frame(seq, seq.to_bytes(size, "big"), salt) for seq in range(first, first + count))
    return FrameRange(first, first + count - 1, count, body)


def make_journal(path: Path, batches: int = 120) -> dict[str, int]:
    """Write a journal with batches of many sizes; return how many events each site has in it."""
    journal = Journal(path)
    journal.set_meta("run_id", "r1")
    source = random.Random(7)
    marks = dict.fromkeys(STREAMS, 0)
    for _ in range(batches):
        site = source.choice(list(STREAMS))
        count = source.randint(1, 12)
        run = make_run(STREAMS[site], marks[site] + 1, count, source.choice((8, 40, 900)))
        journal.apply_all([(site, STREAMS[site], run)], counts=[(site, STREAMS[site], Counts(1, 0, 0))])
        marks[site] += count
    journal.record_gap("site-1", STREAMS["site-1"], GapKind.MISSING, "told before", first=5, last=6)
    journal.goodbyes.record("site-2", Goodbye({STREAMS["site-2"]: marks["site-2"]}, marks["site-2"]))
    journal.close()
    return marks


def zero(data: bytearray, at: int, size: int) -> None:
    data[at : at + size] = bytes(len(data[at : at + size]))


def swap(data: bytearray, source: random.Random) -> None:
    first, second = source.sample(range(1, len(data) // PAGE), 2)
    a, b = slice(first * PAGE, first * PAGE + PAGE), slice(second * PAGE, second * PAGE + PAGE)
    data[a], data[b] = bytes(data[b]), bytes(data[a])


def flip(data: bytearray, source: random.Random) -> None:
    for _ in range(20):
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


DAMAGES: dict[str, Callable[[bytearray, random.Random], None]] = {
    "a sector zeroed": lambda data, source: zero(data, source.randrange(len(data) // 512) * 512, 512),
    "a page zeroed": lambda data, source: zero(data, source.randrange(len(data) // PAGE) * PAGE, PAGE),
    "ten sectors zeroed": lambda data, source: (
        [zero(data, source.randrange(len(data) // 512) * 512, 512) for _ in range(10)] and None
    ),
    "pages swapped": swap,
    "bits flipped": flip,
    "truncated": lambda data, source: data.__delitem__(slice(source.randrange(len(data) // 4, len(data)), None)),
    "first sector zeroed": lambda data, source: zero(data, 0, 512),
    "first page zeroed": lambda data, source: zero(data, 0, PAGE),
    "tables forgotten": lambda data, source: zero(data, 512, PAGE - 512),
}


def events(journal: Journal) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {site: [] for site in STREAMS}
    after = 0
    while batches := journal.read(after, limit_bytes=5_000):
        for batch in batches:
            assert batch.id > after
            after = batch.id
            for seq, payload in batch.events():
                assert int.from_bytes(payload, "big") == seq
                found[batch.site].append(seq)
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_intact_is_read_in_order_and_the_rest_is_counted(tmp_path: Path, name: str, seed: int) -> None:
    path = tmp_path / "journal.db"
    marks = make_journal(path)
    data = bytearray(path.read_bytes())
    DAMAGES[name](data, random.Random(f"{name} {seed}"))
    path.write_bytes(data)

    journal = Journal(path, read_only=True)
    problem = journal.check()
    found = events(journal)
    lost = dict.fromkeys(STREAMS, 0)
    for batch in [batch for after in [0] for batch in journal.read(after, limit_bytes=2**40)]:
        lost[batch.site] += batch.lost
    unknown = any(gap.count is None and gap.kind == "changed" for gap in journal.gaps())
    for site, mark in marks.items():
        assert found[site] == sorted(set(found[site])), "in order, and each once"
        assert set(found[site]) <= set(range(1, mark + 1)), "none is invented"
        if not unknown:
            assert len(found[site]) + lost[site] == mark == journal.counts().get(site), "each one is counted"
        if len(found[site]) < mark:
            assert problem or lost[site], "nothing is lost in silence"
    assert path.read_bytes() == bytes(data), "nothing is written"
    assert len(found["site-1"]) + len(found["site-2"]) > 0
    journal.close()
    assert [one.name for one in tmp_path.iterdir()] == ["journal.db"]


def test_a_journal_that_is_damaged_while_it_is_open_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    marks = make_journal(path)
    data = bytearray(path.read_bytes())
    zero(data, (len(data) // PAGE // 2) * PAGE, PAGE)
    path.write_bytes(data)
    journal = Journal(path)  # one page in the middle does not keep it from being opened
    before = events(journal)
    assert sum(map(len, before.values())) < sum(marks.values())
    journal.apply("site-1", STREAMS["site-1"], [make_run(STREAMS["site-1"], marks["site-1"] + 1, 3, 8)])
    added = list(range(marks["site-1"] + 1, marks["site-1"] + 4))
    until(lambda: events(journal)["site-1"][-3:] == added, 60)  # no new copy is made for each commit
    journal.close()


@pytest.mark.parametrize("name", ["first page zeroed", "first sector zeroed", "tables forgotten"])
def test_a_journal_that_cannot_be_opened_says_what_helps(tmp_path: Path, name: str) -> None:
    path = tmp_path / "journal.db"
    make_journal(path)
    data = bytearray(path.read_bytes())
    DAMAGES[name](data, random.Random(1))
    path.write_bytes(data)
    with pytest.raises(WorkspaceError, match="fedtrack runs salvage WORKSPACE"):
        Journal(path)
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_rescued_journal_is_intact_and_goes_on(tmp_path: Path, name: str) -> None:
    path, target = tmp_path / "journal.db", tmp_path / "new" / "journal.db"
    make_journal(path)
    damaged = Journal(path, read_only=True)
    identity = damaged.meta("id")
    damaged.close()
    data = bytearray(path.read_bytes())
    DAMAGES[name](data, random.Random(3))
    path.write_bytes(data)
    damaged = Journal(path, read_only=True)
    damaged.check()
    before = events(damaged)
    damaged.close()
    rescue(path, target, identity or "")
    journal = Journal(target)
    assert journal.check() == ""
    assert journal.meta("id") == identity
    assert events(journal) == before
    mark = journal.high_water("site-1", STREAMS["site-1"])
    journal.apply("site-1", STREAMS["site-1"], [make_run(STREAMS["site-1"], mark + 1, 2, 8)])
    assert events(journal)["site-1"][-2:] == [mark + 1, mark + 2]
    journal.close()


def test_pruned_batches_are_not_called_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    marks = make_journal(path)
    journal = Journal(path)
    journal.prune(40, 2**62)
    kept = {site: len(seqs) for site, seqs in events(journal).items()}
    journal.close()
    found = rescue(path, tmp_path / "new.db")
    assert (found.lost, found.unknown) == ({}, set())
    assert found.events == kept != marks
