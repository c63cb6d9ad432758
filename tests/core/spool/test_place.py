"""The site that code works for: in its own thread, in threads and pool tasks that it starts, and after its task."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedtrack.spool import frames, place
from fedtrack.spool.hosted import unwrap
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.rounds import SiteRounds
from fedtrack.spool.segments import list_streams
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.records import Metric, decode
from fedtrack.tracking.writer import Writer

Found = Counter[tuple[str, str, int | None]]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SharedSpool]:
    before = threading.Thread.start, ThreadPoolExecutor.submit
    token = place.place.set(None)
    made = SharedSpool(tmp_path / "spool")
    made.follow_threads()
    yield made
    made.close()
    place.place.reset(token)
    threading.Thread.start, ThreadPoolExecutor.submit = before  # type: ignore[method-assign]


def stored(spool: SharedSpool) -> Found:
    """Return how often each key is in the spool, by site and round, as a reader of the files sees it."""
    found: Found = Counter()
    for stream, segments in list_streams(spool.folder).items():
        rounds = SiteRounds()
        for part in SpoolReader(stream, rounds=rounds).read(segments, ended=False):
            assert isinstance(part, frames.FrameRange)
            for _, payload in frames.split(part.body):
                hosted = unwrap(payload)
                assert hosted is not None
                round_ = rounds.of(*hosted)
                record = decode(hosted[1])
                if isinstance(record, Metric):
                    found[hosted[0], record.key, round_] += 1
    return found


def test_a_thread_that_outlives_its_task_logs_under_its_own_site_and_round(spool: SharedSpool) -> None:
    writer, go = Writer(spool), threading.Event()

    def late(site: str) -> None:
        go.wait()
        assert spool.site == site
        for _ in range(50):
            writer.record_metric(f"late {site}", 1.0, 0)

    threads = []
    for number, site in enumerate(("a", "b", "c")):
        spool.enter(site, number)
        threads.append(threading.Thread(target=late, args=(site,)))
        threads[-1].start()
        writer.record_metric(f"own {site}", 1.0, 0)
    assert spool.take_counts() == {"a": 1, "b": 1, "c": 1}
    spool.enter("d", 7)
    go.set()
    for _ in range(200):
        writer.record_metric("own d", 1.0, 0)
    for thread in threads:
        thread.join()
    expected: Found = Counter({("d", "own d", 7): 200})
    for number, site in enumerate(("a", "b", "c")):
        expected |= Counter({(site, f"own {site}", number): 1, (site, f"late {site}", number): 50})
    assert stored(spool) == expected
    assert spool.take_counts() == {"a": 50, "b": 50, "c": 50, "d": 200}
    assert spool.take_counts() == {}


def test_a_task_of_a_pool_belongs_to_who_submits_it_and_not_to_who_made_the_pool(spool: SharedSpool) -> None:
    writer, go = Writer(spool), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        for site in ("a", "b"):
            spool.enter(site, 0)
            pool.submit(lambda key: go.wait() and writer.record_metric(key, 1.0, 0), site)
        spool.enter("c", 0)
        go.set()
    assert stored(spool) == Counter({("a", "a", 0): 1, ("b", "b", 0): 1})


def test_coroutines_belong_to_the_task_that_runs_them(spool: SharedSpool) -> None:
    writer = Writer(spool)

    async def main(site: str) -> None:
        await asyncio.gather(*(asyncio.to_thread(writer.record_metric, site, 1.0, 0) for _ in range(3)))

    for site in ("a", "b"):
        spool.enter(site, 0)
        asyncio.run(main(site))
    assert stored(spool) == Counter({("a", "a", 0): 3, ("b", "b", 0): 3})


def test_once_the_threads_have_ended_log_calls_are_fast_again(spool: SharedSpool) -> None:
    go = threading.Event()
    spool.enter("a", 0)
    thread = threading.Thread(target=go.wait)
    thread.start()
    Writer(spool).record_metric("x", 1.0, 0)
    assert spool._plain_until > 0  # all threads there are belong to this site
    spool.enter("b", 0)
    Writer(spool).record_metric("x", 1.0, 0)
    assert spool._plain_until == 0
    go.set()
    thread.join()
    spool.enter("c", 0)
    Writer(spool).record_metric("x", 1.0, 0)
    assert spool._plain_until > 0


def test_a_thread_of_no_task_runs_as_it_always_does(spool: SharedSpool) -> None:
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(place.place.get()))
    run = thread.run
    thread.start()
    thread.join()
    assert (seen, thread.run) == ([None], run)
