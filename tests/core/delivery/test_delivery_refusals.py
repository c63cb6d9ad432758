"""Delivery: a receiver that refuses records loses those, and no others."""

import pytest

from fedtrack.delivery.retry import UNKNOWN_ERROR_ATTEMPTS
from fedtrack.errors import DamagedError, Permanent
from fedtrack.tracking.events import Batch
from support.delivering import Bench, Scripted, poison


@pytest.mark.parametrize("refused", [(0,), (63,), (17,), (3, 4, 40), tuple(range(64))])
def test_bisecting_finds_exactly_the_poison(bench: Bench, refused: tuple[int, ...]) -> None:
    receiver = Scripted(poison(*refused))
    bench.log(*range(64))
    report = bench.deliver(receiver)
    assert receiver.got == [value for value in range(64) if value not in refused]
    assert (report.delivered, report.dead, report.pending) == (64 - len(refused), len(refused), 0)
    assert [letter.seq - 1 for letter in bench.ledger.dead_letters()] == list(refused)
    assert {letter.error for letter in bench.ledger.dead_letters()} == {"no"}
    if len(refused) == 1:
        assert receiver.calls <= 1 + 2 * 6


def test_named_indices_are_set_aside_without_a_search(bench: Bench) -> None:
    def refuse(receiver: Scripted, batch: Batch) -> None:
        if receiver.calls == 1:
            raise Permanent("bad names", [1, 3, 99, -1])

    receiver = Scripted(refuse)
    bench.log(*range(6))
    report = bench.deliver(receiver)
    assert (receiver.got, receiver.calls, report.dead) == ([0, 2, 4, 5], 2, 2)


def test_a_receiver_that_names_one_index_at_a_time_gets_through_a_batch(bench: Bench) -> None:
    def refuse_first(_: Scripted, batch: Batch) -> None:
        if batch.records[0].value < 999:  # type: ignore[attr-defined]
            raise Permanent("one of many", [0])

    receiver = Scripted(refuse_first)
    bench.log(*range(1_000))
    report = bench.deliver(receiver)
    assert (receiver.got, report.dead, report.pending) == ([999], 999, 0)


@pytest.mark.parametrize("indices", [[], [99]])
def test_indices_that_name_no_record_are_as_good_as_none(bench: Bench, indices: list[int]) -> None:
    receiver = Scripted(poison(5, error=lambda: Permanent("no", indices)))
    bench.log(*range(8))
    assert bench.deliver(receiver).dead == 1


def test_an_unknown_error_is_tried_five_times_and_then_only_once_per_half(bench: Bench) -> None:
    receiver = Scripted(poison(5, error=lambda: KeyError("of the SDK")))
    bench.log(*range(64))
    report = bench.deliver(receiver)
    assert receiver.got == [value for value in range(64) if value != 5]
    assert (report.dead, report.pending) == (1, 0)
    assert receiver.calls == UNKNOWN_ERROR_ATTEMPTS + 2 * 6
    assert "KeyError" in bench.ledger.dead_letters()[0].error


def test_what_is_left_after_a_refusal_keeps_its_attempts(bench: Bench) -> None:
    def refuse_then_blip(receiver: Scripted, batch: Batch) -> None:
        if receiver.calls == 1:
            raise Permanent("bad", [0])
        if receiver.calls < 2 + 3:
            raise RuntimeError("a blip of unknown kind")

    receiver = Scripted(refuse_then_blip)
    bench.log(*range(4))
    report = bench.deliver(receiver)
    assert (receiver.got, report.dead) == ([1, 2, 3], 1)


def test_a_record_with_a_damaged_blob_is_a_dead_letter_and_no_more(bench: Bench) -> None:
    receiver = Scripted(poison(3, error=lambda: DamagedError("Blob 00 is missing.")))
    bench.log(*range(8))
    report = bench.deliver(receiver)
    assert (len(receiver.got), report.dead, report.pending) == (7, 1, 0)
    assert bench.ledger.dead_letters()[0].error == "Blob 00 is missing."


@pytest.mark.parametrize("payload", [b"", b"\x93", b"\x93\x1f\x01\x02", b"\x94\x01\x01\xa1\xff\x01"])
def test_a_payload_that_is_no_record_is_a_dead_letter_and_no_more(bench: Bench, payload: bytes) -> None:
    receiver = Scripted()
    bench.log(1, payload, 2)
    report = bench.deliver(receiver)
    assert (receiver.got, report.delivered, report.dead, report.pending) == ([1, 2], 2, 1, 0)
    (letter,) = bench.ledger.dead_letters()
    assert (letter.seq, letter.payload) == (2, payload)
