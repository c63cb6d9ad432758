"""Delivery: the records that a receiver gets, their order, and the report at the end."""

import threading
import time

import pytest

from fedtrack.delivery.report import ReceiverTally
from fedtrack.errors import Transient
from fedtrack.tracking.records import Gap, Text
from support.delivering import Bench, Scripted, always, until


def test_everything_arrives_in_order_and_the_receiver_is_closed(bench: Bench) -> None:
    receiver = Scripted()
    bench.log(*range(2_500))
    bench.log(*range(2_500, 2_600))
    report = bench.deliver(receiver)
    assert receiver.got == list(range(2_600))
    assert receiver.calls == 3  # of at most 1,000 records
    assert receiver.log == ["open", "flush", ("close", "completed")]
    assert report == ReceiverTally(
        "scripted", "server", 2_600, location="here", id="r", skipped_total=0, addressed=2_600
    )


def test_what_a_receiver_does_not_support_or_listen_to_is_counted_or_skipped(bench: Bench) -> None:
    receiver = Scripted()
    bench.log(1, Text(1, "t", "text"), 2, Text(1, "t", "text"))
    bench.log(3, site="b")
    report = bench.deliver(receiver, addressed=lambda site: site == "a")
    assert receiver.got == [1, 2]
    assert (report.delivered, report.skipped, report.pending) == (2, {"text": 2}, 0)
    assert bench.ledger.cursor("r") == (2, 2, 2, 0)


def test_one_hangs_one_raises_one_is_slow_and_the_healthy_one_does_not_notice(bench: Bench) -> None:
    release = threading.Event()
    lags: list[float] = []
    healthy = Scripted(lambda _, batch: lags.extend(time.monotonic() - r.value for r in batch.records))  # type: ignore[attr-defined]
    receivers = {
        "hangs": Scripted(lambda *_: release.wait(60) and None),
        "raises": Scripted(always(RuntimeError("always"))),
        "raises-transient": Scripted(always(Transient("down"))),
        "slow": Scripted(lambda *_: time.sleep(0.02)),
        "healthy": healthy,
    }
    deliveries = {name: bench.delivery(receiver, name) for name, receiver in receivers.items()}
    for delivery in deliveries.values():
        delivery.start()
    slowest_log = 0.0
    for _ in range(60):
        started = time.monotonic()
        bench.log(started)
        slowest_log = max(slowest_log, time.monotonic() - started)
        time.sleep(0.003)
    until(lambda: len(healthy.got) == 60)
    assert sorted(lags)[58] < 1.0
    assert slowest_log < 1.0
    started = time.monotonic()
    for delivery in deliveries.values():
        delivery.drain("completed")
    reports = {name: delivery.finish(0.5) for name, delivery in deliveries.items()}
    # The stalled ones were waited for at once: not once each.
    assert time.monotonic() - started < 0.5 + 2.0 + 1.0
    assert (reports["healthy"].delivered, reports["healthy"].pending) == (60, 0)
    assert (reports["slow"].delivered, reports["slow"].pending) == (60, 0)
    assert (reports["hangs"].delivered, reports["hangs"].pending) == (0, 60)
    assert (reports["raises-transient"].pending, reports["raises-transient"].error) == (60, "down")
    assert receivers["raises-transient"].log[-1] == ("close", "completed")
    release.set()


def test_the_cursor_moves_only_after_a_flush(bench: Bench) -> None:
    seen: list[int] = []

    class Watching(Scripted):
        def flush(self) -> None:
            seen.append(bench.ledger.cursor("r").batch)
            super().flush()

    receiver = Watching()
    receiver.flushing = [Transient("down"), RuntimeError("odd")]
    bench.log(*range(4))
    report = bench.deliver(receiver)
    assert seen == [0, 0, 0]
    assert (receiver.calls, report.delivered, bench.ledger.cursor("r").batch) == (1, 4, 1)


def test_a_restart_redelivers_from_the_cursor(bench: Bench) -> None:
    first = Scripted()
    delivery = bench.delivery(first)
    bench.log(1, 2)
    delivery.start()
    until(lambda: bench.ledger.cursor("r").batch == 1)
    first.flushing = [Transient("down")] * 10_000
    bench.log(3, 4)
    until(lambda: len(first.got) == 4)
    report = delivery.finish(0.0)
    assert report.pending == 2
    second = Scripted()
    assert bench.deliver(second).delivered == 4
    assert second.got == [3, 4]
    third = Scripted()
    bench.deliver(third)
    assert third.got == []


@pytest.mark.parametrize("drained", [True, False])
def test_finish_returns_within_its_bound_and_says_what_is_left(bench: Bench, drained: bool) -> None:
    release = threading.Event()
    receiver = Scripted(lambda *_: release.wait(60) and None)
    delivery = bench.delivery(receiver)
    bench.log(1, 2, 3)
    delivery.start()
    until(lambda: receiver.calls == 1)
    if drained:
        delivery.drain("completed")
    started = time.monotonic()
    report = delivery.finish(0.1)
    assert time.monotonic() - started < 0.1 + 2.0 + 1.0
    assert (report.delivered, report.pending) == (0, 3)
    release.set()
    until(lambda: receiver.log[-1][0] == "close")


def test_finish_without_drain_ends_an_idle_delivery(bench: Bench) -> None:
    receiver = Scripted()
    delivery = bench.delivery(receiver)
    delivery.start()
    until(lambda: "open" in receiver.log)
    delivery.finish(0.05)
    until(lambda: ("close", "aborted") in receiver.log)


def test_after_a_silence_records_are_delivered_at_once_and_those_that_follow_together(bench: Bench) -> None:
    receiver = Scripted()
    receiver.gather_seconds = 3600.0
    delivery = bench.delivery(receiver)
    delivery.start()
    bench.log(1)
    until(lambda: receiver.log.count("flush") == 1)
    for value in (2, 3, 4):
        bench.log(value)
    time.sleep(0.05)
    assert receiver.got == [1]
    delivery.drain("completed")
    delivery.finish(10)
    assert receiver.got == [1, 2, 3, 4]
    assert receiver.calls == 2


def test_as_much_as_one_call_may_hold_waits_for_nothing(bench: Bench) -> None:
    receiver = Scripted()
    receiver.gather_seconds, receiver.max_records = 3600.0, 10
    delivery = bench.delivery(receiver)
    delivery.start()
    bench.log(1)
    until(lambda: receiver.log.count("flush") == 1)
    receiver.gather_seconds = 0.02  # is read again for each wait
    bench.log(2)
    until(lambda: receiver.got == [1, 2])
    receiver.gather_seconds = 3600.0
    bench.log(*range(3, 13))
    until(lambda: len(receiver.got) == 12)
    delivery.drain("completed")
    delivery.finish(10)


def test_marks_alone_move_the_cursor_and_wake_no_backend(bench: Bench) -> None:
    receiver = Scripted()
    bench.log(b"\x93\x20\x01\x02", Gap(1, 17, "full"))
    bench.log(b"\x93\x20\x01\x02")
    report = bench.deliver(receiver)
    assert receiver.log == ["open", ("close", "completed")]
    assert (report.seen, report.skipped, bench.ledger.cursor("r").batch) == (0, {}, 2)


def test_skipped_kinds_are_counted_over_the_lives_of_a_server(bench: Bench) -> None:
    for _ in range(2):
        bench.log(Text(1, "t", "text"))
        assert bench.deliver(Scripted()).pending == 0
    assert bench.deliver(Scripted()).skipped == {"text": 2}


def test_a_clock_of_ones_own_drives_it_without_a_wait(bench: Bench) -> None:
    """An hour's outage, in as many steps as there are attempts."""
    now = 0.0
    receiver = Scripted(lambda *_: (_ for _ in ()).throw(Transient("down")) if now < 3600 else None)
    delivery = bench.delivery(receiver, backoff_seconds=0.5, clock=lambda: now)
    bench.log(1, 2)
    steps = 0
    while receiver.got != [1, 2]:
        now += delivery.step(now) or 0.0
        steps += 1
    assert 3600 <= now < 3660
    assert 60 < steps < 1_000
    while not delivery.report().delivered:
        now += delivery.step(now) or 0.0
    assert 3590 < delivery.report().outage_seconds <= 3660
    assert delivery.step(now) == 1.0  # nothing to do: the journal is looked at again, or says so earlier
    delivery.drain("completed")
    assert delivery.step(now) is None
    assert receiver.log == ["open", "flush", ("close", "completed")]
