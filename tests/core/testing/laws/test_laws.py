"""How a law drives a receiver: as delivery does, and a law about what it does not support is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import Transient
from fedtrack.testing import MemoryReceiver, Stored, run_info
from fedtrack.testing.doubles import memory_store
from fedtrack.testing.laws.laws import Laws, batch, receive, series
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric, Tag


class Flaky(MemoryReceiver):
    """Cannot take anything a few times, at each step of its life."""

    def __init__(self, faults: int) -> None:
        super().__init__()
        self.left = dict.fromkeys(("open", "receive", "flush"), faults)
        self.closed: list[str] = []

    def _stumble(self, step: str) -> None:
        if self.left[step]:
            self.left[step] -= 1
            raise Transient("not now")

    def open(self, run: RunInfo) -> None:
        self._stumble("open")
        super().open(run)

    def receive(self, batch: Batch) -> None:
        self._stumble("receive")
        super().receive(batch)

    def flush(self) -> None:
        self._stumble("flush")
        super().flush()

    def close(self, status: str) -> None:
        self.closed.append(status)
        super().close(status)


class OfOne(Laws):
    def __init__(self, receiver: Receiver, folder: Path) -> None:
        self.receiver = receiver
        self.run = run_info(folder)

    def make_receiver(self) -> Receiver:
        return self.receiver

    def read(self, folder: Path) -> list[Stored]:
        return memory_store(folder).stored


def test_a_receiver_that_cannot_now_is_asked_again(tmp_path: Path) -> None:
    flaky = Flaky(faults=4)
    laws = OfOne(flaky, tmp_path)
    laws.deliver(batch(series("loss", [0.5, 1.5])))
    assert laws.values("loss") == [0.5, 1.5]
    assert flaky.closed == ["completed"]


def test_one_that_never_can_breaks_the_law_and_is_closed_all_the_same(tmp_path: Path) -> None:
    flaky = Flaky(faults=5)
    with pytest.raises(Transient):
        OfOne(flaky, tmp_path).deliver(batch(series("loss", [0.5])))
    assert flaky.closed == ["completed"]


def test_what_was_stored_is_told_apart_by_kind_site_and_key(tmp_path: Path) -> None:
    laws = OfOne(MemoryReceiver(), tmp_path)
    with laws.opened() as receiver:
        receive(receiver, batch(series("loss", [0.5])))
        receive(receiver, batch(series("acc", [0.25]), first=1))
        receive(receiver, batch(series("loss", [9.0]), site="site-2"))
        receive(receiver, batch([Tag(1, "loss", "a tag")], first=2))
    assert laws.values("loss") == [0.5]
    assert laws.values("loss", site="site-2") == [9.0]
    assert laws.values("loss", Tag) == ["a tag"]
    assert [found.key for found in laws.stored()] == ["loss", "acc"]


def test_a_law_about_a_kind_that_is_not_supported_is_skipped(tmp_path: Path) -> None:
    class OnlyMetrics(MemoryReceiver):
        supports = frozenset({Metric})

    laws = OfOne(OnlyMetrics(), tmp_path)
    laws.needs(Metric)
    with pytest.raises(pytest.skip.Exception, match="OnlyMetrics does not support Tag"):
        laws.needs(Metric, Tag)


def test_series_have_times_that_no_coarse_clock_would_keep() -> None:
    times = [point.time_ns for point in series("loss", [0.0] * 5, first_step=7)]
    assert times == sorted(set(times))
    assert all(time % 1_000_000 for time in times)
    assert [point.step for point in series("loss", [0.0] * 2, first_step=7)] == [7, 8]
