"""Delivery: a receiver that hangs, raises or cannot be opened costs only itself."""

import errno
import re
import sys
import time
from typing import Any

import pytest

from fedtrack.errors import ConfigError, Permanent, Transient, WorkspaceError
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from support.delivering import Bench, Scripted, always, until


@pytest.mark.parametrize(
    "error",
    [
        Transient("down"),
        ConnectionResetError("peer"),
        TimeoutError("slow"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_an_outage_is_waited_for_however_long_and_loses_nothing(bench: Bench, error: Exception) -> None:
    def down(receiver: Scripted, batch: Batch) -> None:
        if receiver.calls <= 30:
            raise error

    receiver = Scripted(down)
    bench.log(*range(4))
    report = bench.deliver(receiver, backoff_seconds=1e-9)
    assert (receiver.got, receiver.calls, report.dead, report.error) == ([0, 1, 2, 3], 31, 0, "")


def test_the_wait_doubles_up_to_a_limit_for_any_number_of_attempts(bench: Bench) -> None:
    receiver = Scripted(always(Transient("down")))
    delivery = bench.delivery(receiver, backoff_seconds=0.5)
    delivery._retry._random.uniform = lambda low, high: high  # type: ignore[method-assign]
    bench.log(1)
    waits, now = [], 0.0
    while receiver.calls < 3_000:
        wait = delivery.step(now)
        assert wait is not None
        now += wait
        waits += [wait] if wait else []
    assert waits[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert {*waits[8:]} == {60.0}


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigError("wrong token"), "wrong token"), (Permanent("no such server"), "no such server")],
)
def test_an_open_that_cannot_succeed_stops_this_delivery_and_closes(
    bench: Bench, error: Exception, status: str
) -> None:
    receiver = Scripted()
    receiver.opening = [error]
    bench.log(1)
    report = bench.deliver(receiver)
    assert (report.error, report.pending, report.location) == (status, 1, "")
    assert [entry for entry in receiver.log if entry != "open"] in ([("close", "aborted")], [("close", "completed")])


def test_an_open_that_fails_is_tried_again_as_long_as_the_run_lasts(bench: Bench) -> None:
    receiver = Scripted()
    receiver.opening = [RuntimeError("the server is starting") for _ in range(30)]
    delivery = bench.delivery(receiver, backoff_seconds=1e-9)
    delivery.start()
    bench.log(1)
    until(lambda: receiver.got == [1])
    delivery.drain("failed")
    assert delivery.finish(10).delivered == 1
    assert receiver.log[-1] == ("close", "failed")


def test_an_open_that_never_succeeds_does_not_delay_the_end(bench: Bench) -> None:
    receiver = Scripted()
    receiver.opening = [RuntimeError("broken")] * 10_000
    started = time.monotonic()
    report = bench.deliver(receiver, stall_seconds=30)
    assert time.monotonic() - started < 10
    assert report.pending == 0
    assert re.fullmatch(r"RuntimeError: broken \(.*delivering\.py:\d+\)", report.error)


def test_an_open_that_is_refused_again_and_again_does_not_delay_the_end(bench: Bench) -> None:
    """As by a server that is down: each attempt fails at once, and none of them is a sign of progress."""
    until_then = time.monotonic() + 5

    class Refused(Scripted):
        def open(self, run: RunInfo) -> None:
            if time.monotonic() < until_then:
                raise Transient("connection refused")

    bench.log(1)
    report = bench.deliver(Refused(), stall_seconds=0.3, backoff_seconds=1e-9)
    assert (report.delivered, report.pending, report.error) == (0, 1, "connection refused")


def test_a_backend_that_wants_to_end_the_process_ends_nothing(bench: Bench) -> None:
    receiver = Scripted(lambda receiver, _: sys.exit("fatal") if receiver.calls == 1 else None)
    bench.log(1, 2)
    assert bench.deliver(receiver).delivered == 2


def test_a_close_that_fails_is_reported(bench: Bench) -> None:
    class Closing(Scripted):
        def close(self, status: str) -> None:
            raise SystemExit(3)

    bench.log(1)
    report = bench.deliver(Closing())
    assert report.delivered == 1
    assert re.fullmatch(r"SystemExit: 3 \(.*test_delivery_outages\.py:\d+\)", report.error)


@pytest.mark.parametrize("what", ["read", "advance"])
def test_a_file_that_fails_for_a_while_ends_no_delivery(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    file = bench.journal if what == "read" else bench.ledger
    real, failures = getattr(file, what), [WorkspaceError("the disk is full")] * 8

    def flaky(*args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args, **kwargs)

    monkeypatch.setattr(file, what, flaky)
    receiver = Scripted()
    bench.log(1, 2)
    report = bench.deliver(receiver)
    assert (receiver.got, report.delivered, report.pending, report.error) == ([1, 2], 2, 0, "")


def test_a_delivery_that_waits_for_the_journal_keeps_nobody_from_writing_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Scripted()
    delivery = bench.delivery(receiver, backoff_seconds=60)
    delivery.start()
    until(lambda: "open" in receiver.log)
    real = bench.journal.read
    monkeypatch.setattr(bench.journal, "read", lambda after: (_ for _ in ()).throw(WorkspaceError("I/O error")))
    monkeypatch.setattr(bench.journal, "last_batch", lambda: (_ for _ in ()).throw(WorkspaceError("I/O error")))
    delivery._retry._random.uniform = lambda low, high: high  # type: ignore[method-assign]
    bench.log(1)
    until(lambda: bool(delivery.report().error))
    started = time.monotonic()
    bench.log(2)
    assert time.monotonic() - started < 5
    monkeypatch.setattr(bench.journal, "read", real)
    delivery.finish(0.0)


def fail(*_: object) -> None:
    int("three")


class FailsInOpen(Scripted):
    open = fail


class FailsInReceive(Scripted):
    receive = fail


class FailsInFlush(Scripted):
    flush = fail


class FailsInClose(Scripted):
    close = fail


@pytest.mark.parametrize("kind", [FailsInOpen, FailsInReceive, FailsInFlush, FailsInClose])
def test_an_error_of_a_receiver_has_its_file_and_line_and_its_traceback_is_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture, kind: type[Scripted]
) -> None:
    bench.log(1)
    report = bench.deliver(kind(), stall_seconds=0.5)
    line = fail.__code__.co_firstlineno + 1
    place = f"ValueError: invalid literal for int() with base 10: 'three' ({__file__}:{line})"
    [logged, *_] = [record for record in caplog.records if place in record.getMessage()]
    assert "in fail\n" in logged.__dict__["traceback"]
    assert place in (report.error or bench.ledger.dead_letters("r")[0].error)
