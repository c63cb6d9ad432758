"""Forwarder.step: what it does at a time that the test sets, and when it wants to be called again."""

import pytest

from fedtrack.transport.forwarder import Forwarder
from support.forwarding import Site, stored


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_step_looks_when_it_is_due_often_while_sites_log_and_seldom_when_none_does(site: Site) -> None:
    clock = Clock()
    forwarder = Forwarder(poll_seconds=0.05, clock=clock)
    forwarder.add(site.source)
    assert forwarder.step(clock()) == pytest.approx(1000.05)  # nothing there
    site.log(1)
    clock.now = 1000.04
    assert forwarder.step(clock()) == pytest.approx(1000.05)  # not due yet
    assert stored(site.source.journal) == []
    clock.now = 1000.05
    assert forwarder.step(clock()) == pytest.approx(1000.07)
    assert stored(site.source.journal) == [1]
    clock.now = 1001.0
    assert forwarder.step(clock()) == pytest.approx(1001.02)  # a site has just logged
    clock.now = 1001.06
    assert forwarder.step(clock()) == pytest.approx(1001.11)  # and now none has for a second


def test_a_pass_that_takes_long_is_followed_by_a_pause(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    forwarder = Forwarder(poll_seconds=0.05, clock=clock)
    forwarder.add(site.source)
    site.log(1)
    real = site.source.read

    def slow(stream: object) -> None:
        clock.now += 3
        real(stream)  # type: ignore[arg-type]

    monkeypatch.setattr(site.source, "read", slow)
    assert forwarder.step(1000.0) == pytest.approx(1003.02)
