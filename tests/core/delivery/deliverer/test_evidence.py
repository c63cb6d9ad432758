"""Evidence: which deaths prove something, how the guilty record is found, and when a receiver is given up."""

from __future__ import annotations

import signal

import pytest

from fedtrack.delivery.calls import Call, CallState
from fedtrack.delivery.deliverer.evidence import Death, Evidence, death_of

ABORT = Death("SIGABRT", proves=True)


def receiving(seq: int, events: int, accepted: int = 0, batch: int = 7) -> CallState:
    return CallState(Call.RECEIVE, batch=batch, seq=seq, events=events, accepted=accepted)


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"])
def test_a_fault_of_the_process_proves_something_and_is_named(number: str) -> None:
    assert death_of(-signal.Signals[number], silent=False) == (number, True)


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGXCPU", "SIGHUP"])
def test_a_signal_from_outside_proves_nothing(number: str) -> None:
    assert death_of(-signal.Signals[number], silent=False) == (number, False)


def test_exits_silence_and_unnamed_signals() -> None:
    assert death_of(0, silent=False) == ("an exit with status 0", True)
    assert death_of(3, silent=False) == ("an exit with status 3", True)
    assert death_of(-signal.SIGKILL, silent=True) == ("a call that let nothing else run for 10 s", True)
    assert death_of(-40, silent=False) == ("the signal 40", False)


def search(poison: int, count: int) -> tuple[Evidence, int]:
    """Let a receiver die of one record of a call, as often as it takes; return the evidence and how often."""
    evidence, deaths = Evidence(), 0
    while not evidence.precautions.condemned:
        suspect = evidence.precautions.suspect
        first, events = 1, count
        if suspect is not None:  # in pieces, of which those without the poison pass
            first = suspect.seq + (poison - suspect.seq) // suspect.piece * suspect.piece
            events = min(suspect.piece, suspect.seq + suspect.events - first)
        evidence.add(ABORT, receiving(first, events, accepted=first - 1), 0)
        deaths += 1
        assert deaths < 20
    return evidence, deaths


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 1000])
def test_the_record_is_found_by_halves(count: int) -> None:
    for poison in {1, count, (count + 1) // 2}:
        evidence, deaths = search(poison, count)
        ((batch, seq, reason),) = evidence.precautions.condemned
        assert (batch, seq) == (7, poison)
        assert "SIGABRT" in reason
        assert deaths <= 3 + count.bit_length()
        assert not evidence.given_up


def test_fewer_than_three_deaths_change_nothing() -> None:
    evidence = Evidence()
    assert not evidence.add(ABORT, receiving(1, 10), 0)
    assert not evidence.add(ABORT, receiving(1, 10), 0)
    assert evidence.precautions == Evidence().precautions
    assert not evidence.add(ABORT, receiving(11, 10), 4)  # other events, after progress: the count begins again
    assert not evidence.add(ABORT, receiving(11, 10), 4)
    assert evidence.add(ABORT, receiving(11, 10), 4)


def test_a_receiver_that_dies_of_every_record_is_given_up() -> None:
    evidence, _ = search(1, 4)
    deaths = 0
    while not evidence.given_up:
        evidence.add(ABORT, receiving(2 + deaths, 1), 0)
        deaths += 1
    assert deaths == 3
    assert "each of 3 single records" in evidence.given_up


def test_one_that_takes_others_in_between_is_not() -> None:
    evidence, _ = search(1, 4)
    for number in range(2, 20):
        evidence.add(ABORT, receiving(number, 1, accepted=5), number)
    assert not evidence.given_up
    assert len(evidence.precautions.condemned) == 19


@pytest.mark.parametrize("call", [Call.NONE, Call.PREPARE, Call.BUILD, Call.OPEN, Call.FLUSH, Call.RESULTS, Call.CLOSE])
def test_a_death_in_another_call_condemns_no_record(call: Call) -> None:
    evidence = Evidence()
    for _ in range(3):
        assert not evidence.given_up
        evidence.add(ABORT, CallState(call), 0)
    assert "by SIGABRT, 3 times in a row" in evidence.given_up
    assert evidence.precautions.condemned == []


def test_progress_in_between_is_a_new_beginning() -> None:
    evidence = Evidence()
    for cursor in range(10):
        evidence.add(ABORT, CallState(Call.FLUSH), cursor)
    assert not evidence.given_up
