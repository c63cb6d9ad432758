"""StoredStream: rounds, counts and final numbers, and that gaps and control records are no events."""

from pathlib import Path

import pytest

from fedtrack.journal.journal import Goodbye, Journal
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import Gap, Metric, Rejected, encode

STREAM, OTHER = "ab" * 16, "cd" * 16
MARK = b"\x93\x20\x01\x02"  # of kind 32
LATER_MARK = b"\x93\xcc\xc8\x01\x02"  # of kind 200
UNKNOWN = b"\x93\x1f\x01\x02"  # of kind 31: an event that this version does not know


def make_run(payloads: list[bytes], first: int = 1, round_: int | None = None) -> FrameRange:
    salt = frames.salt_of(STREAM)
    body = b"".join(frames.frame(seq, payload, salt) for seq, payload in enumerate(payloads, start=first))
    return FrameRange(first, first + len(payloads) - 1, len(payloads), body, round_)


METRIC = encode(Metric(1, "loss", 0.5))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


def test_gaps_and_control_records_are_kept_and_no_events(journal: Journal) -> None:
    payloads = [MARK, METRIC, encode(Gap(1, 17, "full")), UNKNOWN, encode(Rejected(1, "k", "no")), LATER_MARK, b""]
    assert journal.apply("a", STREAM, [make_run(payloads)]) == 7
    assert (journal.counts(), journal.total(), journal.events_after(0)) == ({"a": 4}, 4, 4)
    (batch,) = journal.read(0)
    assert [seq for seq, _ in batch.events()] == [2, 4, 5, 7]
    assert [bytes(payload) for _, payload in frames.split(batch.body)] == payloads
    assert (batch.count, batch.recount()) == (4, 4)


def test_a_frame_of_a_metric_that_looks_like_a_mark_is_an_event(journal: Journal) -> None:
    deceptive = encode(Metric(1, "x" + "\t" * 40, 0.5))
    journal.apply("a", STREAM, [make_run([deceptive] * 3)])
    assert journal.counts() == {"a": 3}


def test_a_part_that_is_known_is_not_counted_again(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([METRIC, MARK])])
    journal.apply("a", STREAM, [make_run([METRIC, MARK, METRIC, MARK])])
    assert journal.counts() == {"a": 2}


def test_the_round_of_a_batch_is_kept_and_never_the_one_before(journal: Journal) -> None:
    rounds = (None, 0, 1, None)
    journal.apply("a", STREAM, [make_run([METRIC], number, r) for number, r in enumerate(rounds, start=1)])
    assert tuple(batch.round for batch in journal.read(0)) == rounds
    (stream,) = journal.streams()
    assert (stream.site, stream.stream, stream.last, stream.count, stream.round) == ("a", STREAM, 4, 4, None)


def test_pruning_keeps_counts_and_which_numbers_were_of_which_round(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([METRIC] * 2, 1 + 2 * number, number // 2) for number in range(6)])
    assert journal.prune(5, 2**62, keep=[2]) == 8
    assert [batch.id for batch in journal.read(0)] == [2, 6]
    rows = journal.database.reader().execute("SELECT site, stream, round, first, last, n FROM pruned ORDER BY id")
    assert rows.fetchall() == [("a", STREAM, 0, 1, 2, 2), ("a", STREAM, 1, 5, 8, 4), ("a", STREAM, 2, 9, 10, 2)]
    assert (journal.counts(), journal.pruned("a"), journal.last_batch()) == ({"a": 12}, 8, 6)


def test_counts_are_stored_with_the_batches_and_never_become_less(journal: Journal) -> None:
    journal.apply_all([("a", STREAM, make_run([METRIC]))], counts=[("a", STREAM, Counts(3, 2, 1))])
    journal.apply_all([], counts=[("a", STREAM, Counts(1, 4, 1)), ("a", OTHER, None)])
    known, unknown = journal.streams()
    assert (known.counts, known.counted) == (Counts(3, 4, 1), True)
    assert (unknown.counts, unknown.counted, unknown.last) == (Counts(), False, 0)
    assert journal.high_waters("a") == {STREAM: 1}  # of the other one nothing has arrived
    journal.apply_all([], counts=[("a", STREAM, None)])
    assert journal.streams()[0].counts == Counts(3, 4, 1)
    assert journal.streams()[0].counted is False


def test_a_goodbye_is_kept_and_its_final_numbers_stand_with_the_streams(journal: Journal) -> None:
    journal.apply("a", STREAM, [make_run([METRIC])])
    journal.goodbyes.record("a", Goodbye({STREAM: 1, OTHER: 5}, 6, 1, 2, 3, "why", b"head"))
    assert not journal.goodbyes.has_everything_of("a")
    found = journal.goodbyes.all()["a"]
    assert found.said_ns is not None
    assert found._replace(said_ns=None) == Goodbye({STREAM: 1, OTHER: 5}, 6, 1, 2, 3, "why", b"head")
    journal.goodbyes.record("a", Goodbye({STREAM: 1}))  # it has thought again
    assert journal.goodbyes.all()["a"].final == {STREAM: 1}
    assert [journal.goodbyes.has_everything_of(site) for site in ("a", "b")] == [True, False]
