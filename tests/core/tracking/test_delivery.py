"""Delivery: a receiver that hangs, raises, is slow or refuses costs only itself."""

import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import ConfigError, DamagedError, Permanent, Transient, WorkspaceError
from fedtrack.tracking import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.delivery import UNKNOWN_ERROR_ATTEMPTS, Delivery
from fedtrack.tracking.delivery_report import DeliveryReport
from fedtrack.tracking.events import Batch
from fedtrack.tracking.frames import Run
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.receiver import Receiver, Results, RunInfo
from fedtrack.tracking.records import Metric, Record, Text, encode

STREAM = "ab" * 16

Fault = Callable[["Scripted", Batch], None]


class Scripted(Receiver):
    """Keeps what it is given, and does before what the test says."""

    name = "scripted"
    summary = "A double."
    supports = frozenset({Metric})
    gather_seconds = 0.0

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__()
        self.fault = fault
        self.calls = 0
        self.log: list[Any] = []
        self.got: list[float] = []
        self.opening: list[BaseException] = []
        self.flushing: list[BaseException] = []

    def open(self, run: RunInfo) -> None:
        self.log.append("open")
        if self.opening:
            raise self.opening.pop(0)

    def receive(self, batch: Batch) -> None:
        self.calls += 1
        if self.fault is not None:
            self.fault(self, batch)
        self.got += [record.value for record in batch.records if isinstance(record, Metric)]

    def flush(self) -> None:
        self.log.append("flush")
        if self.flushing:
            raise self.flushing.pop(0)

    def close(self, status: str) -> None:
        self.log.append(("close", status))

    def results(self) -> Results | None:
        return Results("here")


class Bench:
    """A journal and the deliveries from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder / "journal.db")
        self.run = RunInfo("r1", "job", folder, "server", ("a",), 0, BlobStore(folder / "blobs"))
        self.next_seq = 1

    def log(self, *records: Record | bytes | float, site: str = "a") -> None:
        payloads = []
        for record in records:
            plain = Metric(1, "loss", float(record)) if isinstance(record, int | float) else record
            payloads.append(plain if isinstance(plain, bytes) else encode(plain))
        salt, first = frames.salt_of(STREAM), self.next_seq
        self.next_seq += len(payloads)
        body = b"".join(frames.frame(first + index, payload, salt) for index, payload in enumerate(payloads))
        self.journal.apply(site, STREAM, [Run(first, self.next_seq - 1, len(payloads), body)])

    def delivery(self, receiver: Receiver, name: str = "r", **options: Any) -> Delivery:
        return Delivery(name, receiver, self.journal, self.run, **{"backoff_seconds": 0.001} | options)

    def deliver(self, receiver: Receiver, stall_seconds: float = 10, **options: Any) -> DeliveryReport:
        """Deliver everything there is and report."""
        delivery = self.delivery(receiver, **options)
        delivery.start()
        delivery.drain("completed")
        return delivery.finish(stall_seconds)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def poison(*values: float, error: Callable[[], BaseException] = lambda: Permanent("no")) -> Fault:
    """Return a fault that refuses every batch with one of ``values`` in it."""

    def refuse(_: Scripted, batch: Batch) -> None:
        if any(record.value in values for record in batch.records if isinstance(record, Metric)):
            raise error()

    return refuse


def always(error: Exception) -> Fault:
    """Return a fault that raises ``error`` whatever comes."""

    def fail(*_: object) -> None:
        raise error

    return fail


def test_everything_arrives_in_order_and_the_receiver_is_closed(bench: Bench) -> None:
    receiver = Scripted()
    bench.log(*range(2_500))
    bench.log(*range(2_500, 2_600))
    report = bench.deliver(receiver)
    assert receiver.got == list(range(2_600))
    assert receiver.calls == 3  # of at most 1,000 records
    assert receiver.log == ["open", "flush", ("close", "completed")]
    assert report == DeliveryReport("r", "scripted", 2_600, {}, 0, 0, "", Results("here"))


def test_what_a_receiver_does_not_support_or_listen_to_is_counted_or_skipped(bench: Bench) -> None:
    receiver = Scripted()
    bench.log(1, Text(1, "t", "text"), 2, Text(1, "t", "text"))
    bench.log(3, site="b")
    report = bench.deliver(receiver, addressed=lambda site: site == "a")
    assert receiver.got == [1, 2]
    assert (report.delivered, report.skipped, report.pending) == (2, {"text": 2}, 0)
    assert bench.journal.cursor("r") == (2, 2, 2, 0)


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


@pytest.mark.parametrize("refused", [(0,), (63,), (17,), (3, 4, 40), tuple(range(64))])
def test_bisecting_finds_exactly_the_poison(bench: Bench, refused: tuple[int, ...]) -> None:
    receiver = Scripted(poison(*refused))
    bench.log(*range(64))
    report = bench.deliver(receiver)
    assert receiver.got == [value for value in range(64) if value not in refused]
    assert (report.delivered, report.dead, report.pending) == (64 - len(refused), len(refused), 0)
    assert [letter.seq - 1 for letter in bench.journal.dead_letters()] == list(refused)
    assert {letter.error for letter in bench.journal.dead_letters()} == {"no"}
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
    assert "KeyError" in bench.journal.dead_letters()[0].error


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
    waits: list[float] = []
    delivery = bench.delivery(Scripted(), backoff_seconds=0.5)
    delivery._retry._random.uniform = lambda low, high: (waits.append(high), 0.0)[1]  # type: ignore[method-assign]
    for attempt in (0, 1, 2, 6, 7, 100, 100_000):
        delivery._retry._pause(Transient("down"), attempt)
    assert waits == [0.5, 1.0, 2.0, 32.0, 60.0, 60.0, 60.0]


def test_the_cursor_moves_only_after_a_flush(bench: Bench) -> None:
    seen: list[int] = []

    class Watching(Scripted):
        def flush(self) -> None:
            seen.append(bench.journal.cursor("r").batch)
            super().flush()

    receiver = Watching()
    receiver.flushing = [Transient("down"), RuntimeError("odd")]
    bench.log(*range(4))
    report = bench.deliver(receiver)
    assert seen == [0, 0, 0]
    assert (receiver.calls, report.delivered, bench.journal.cursor("r").batch) == (1, 4, 1)


def test_a_restart_redelivers_from_the_cursor(bench: Bench) -> None:
    first = Scripted()
    delivery = bench.delivery(first)
    bench.log(1, 2)
    delivery.start()
    until(lambda: bench.journal.cursor("r").batch == 1)
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
    assert (report.error, report.pending, report.results) == (status, 1, None)
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
    assert (report.pending, report.error) == (0, "RuntimeError: broken")


def test_a_record_with_a_damaged_blob_is_a_dead_letter_and_no_more(bench: Bench) -> None:
    receiver = Scripted(poison(3, error=lambda: DamagedError("Blob 00 is missing.")))
    bench.log(*range(8))
    report = bench.deliver(receiver)
    assert (len(receiver.got), report.dead, report.pending) == (7, 1, 0)
    assert bench.journal.dead_letters()[0].error == "Blob 00 is missing."


@pytest.mark.parametrize("payload", [b"", b"\x93", b"\x93\x63\x01\x02", b"\x94\x01\x01\xa1\xff\x01"])
def test_a_payload_that_is_no_record_is_a_dead_letter_and_no_more(bench: Bench, payload: bytes) -> None:
    receiver = Scripted()
    bench.log(1, payload, 2)
    report = bench.deliver(receiver)
    assert (receiver.got, report.delivered, report.dead, report.pending) == ([1, 2], 2, 1, 0)
    (letter,) = bench.journal.dead_letters()
    assert (letter.seq, letter.payload) == (2, payload)


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
    assert (report.delivered, report.error) == (1, "SystemExit: 3")


@pytest.mark.parametrize("what", ["read", "advance"])
def test_a_journal_that_fails_for_a_while_ends_no_delivery(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    real, failures = getattr(bench.journal, what), [WorkspaceError("the disk is full")] * 8

    def flaky(*args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args, **kwargs)

    monkeypatch.setattr(bench.journal, what, flaky)
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


# How long records wait for others.


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
