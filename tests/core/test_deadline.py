"""A deadline interrupts code where it hangs, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import traceback

import pytest

from fedtrack.deadline import OutOfTime, deadline


def spin() -> None:
    while True:
        with contextlib.suppress(Exception):  # code that hides every exception
            time.sleep(0)


@pytest.mark.parametrize("hang", [spin, lambda: time.sleep(600), threading.Event().wait])
def test_code_that_hangs_is_interrupted_at_its_place(hang: object) -> None:
    started = time.monotonic()
    with pytest.raises(OutOfTime, match=r"it took longer than 0\.1 s") as caught, deadline(0.1):
        hang()  # type: ignore[operator]
    assert time.monotonic() - started < 30
    assert any(frame.name in ("spin", "<lambda>", "wait") for frame in traceback.extract_tb(caught.value.__traceback__))


def test_code_that_returns_is_left_alone_and_so_is_the_timer_of_somebody_else() -> None:
    mine = lambda *_: None  # noqa: E731
    before = signal.signal(signal.SIGALRM, mine), signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with deadline(0.5):
            time.sleep(0.01)
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] < 100
        with deadline(500):
            assert signal.getsignal(signal.SIGALRM) is mine  # the earlier alarm is not put off
    finally:
        signal.setitimer(signal.ITIMER_REAL, before[1][0])
        signal.signal(signal.SIGALRM, before[0])


def test_another_thread_has_no_limit() -> None:
    ended = []

    def work() -> None:
        with deadline(0.01):
            time.sleep(0.05)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]
