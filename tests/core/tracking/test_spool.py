"""Spool: what a log call leaves on the disk, also when the disk, the process or the caller misbehaves."""

import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import ConfigError
from fedtrack.tracking import frames
from fedtrack.tracking import spool as spool_module
from fedtrack.tracking.records import Gap, Histogram, Metric, Param, Rejected, decode
from fedtrack.tracking.segments import is_open, list_streams
from fedtrack.tracking.spool import RESERVE_BYTES, Spool, SpoolFull
from fedtrack.tracking.spool_reader import SpoolReader

Read = Callable[[Path], dict[str, list[tuple[int, Any]]]]


def metric(value: float, key: str = "loss") -> Metric:
    return Metric(123, key, float(value), 7)


def values(records: list[tuple[int, Any]]) -> list[float]:
    return [record.value for _, record in records if isinstance(record, Metric)]


def gaps(records: list[tuple[int, Any]]) -> list[int]:
    return [record.count for _, record in records if isinstance(record, Gap)]


@pytest.fixture
def full_disk() -> Iterator[Callable[[int | None], None]]:
    """Return what limits the size of this process's files in bytes: a full disk that needs no root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))

    yield limit
    limit(None)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every fsync."""
    counted: list[int] = []
    for name in ("fdatasync", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real: (counted.append(fd), real(fd))[1])
    return counted


def test_a_stream_is_private_files_in_the_order_of_the_calls(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=200)
    for number in range(50):
        spool.append(metric(number))
    paths = list((tmp_path / "spool").iterdir())
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert all(path.stat().st_size <= 200 for path in paths)
    (segments,) = list_streams(tmp_path / "spool").values()
    assert len(segments) == len(paths) > 10
    for segment in segments:
        head = frames.read_header(segment.path.read_bytes())
        assert head is not None
        assert (head.stream, head.first_seq) == (spool.stream, segment.first_seq)
    (records,) = read_spool(tmp_path / "spool").values()
    assert records == [(number + 1, metric(number)) for number in range(50)]
    assert spool.stored == 50


def test_extend_stores_in_order_with_few_writes(
    tmp_path: Path, read_spool: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(len(data)), real(fd, data))[1])
    spool = Spool(tmp_path)
    spool.extend(metric(number) for number in range(10_000))
    spool.extend([])
    assert len(writes) == 1 + 2  # the header; about 360 kB of frames
    (records,) = read_spool(tmp_path).values()
    assert values(records) == list(range(10_000))


@pytest.mark.parametrize("arguments", [{"durability": "ram"}, {"on_full": "wait"}, {"limit_bytes": RESERVE_BYTES}])
def test_a_wrong_option_is_named(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        Spool(tmp_path, **arguments)


def test_close_releases_and_a_later_append_goes_on(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    spool.append(metric(1))
    (path,) = tmp_path.glob("*.spool")
    assert is_open(path)
    spool.close()
    spool.close()
    assert not is_open(path)
    spool.append(metric(2))
    (records,) = read_spool(tmp_path).values()
    assert records == [(1, metric(1)), (2, metric(2))]


def test_a_record_beyond_a_frame_is_rejected_and_counted(tmp_path: Path, read_spool: Read) -> None:
    edges = tuple(float(number) for number in range(100_001))
    huge = Histogram(5, "weights", edges, edges[:-1], 3)
    spool = Spool(tmp_path)
    spool.append(huge)
    spool.extend([metric(1), huge, metric(2)])
    (records,) = read_spool(tmp_path).values()
    assert [type(record) for _, record in records] == [Rejected, Metric, Rejected, Metric]
    assert records[0][1].key == "weights"
    assert "1,048,576" in records[0][1].reason


# Full disks and limits.


@pytest.mark.parametrize("size", [100_000, 100_001, 100_050])
def test_on_a_full_disk_what_is_accepted_is_readable_and_the_rest_is_counted(
    tmp_path: Path, read_spool: Read, full_disk: Callable[[int | None], None], size: int
) -> None:
    spool = Spool(tmp_path)
    full_disk(size)
    for number in range(5_000):
        spool.append(metric(number))
    full_disk(None)
    assert spool.dropped > 1_000
    for number in range(5_000, 5_010):
        spool.append(metric(number))
    spool.close()
    (records,) = read_spool(tmp_path).values()
    kept = 5_000 - spool.dropped
    assert values(records) == [*range(kept), *range(5_000, 5_010)]
    assert sum(gaps(records)) == spool.dropped
    assert spool.stored == len(records)
    reasons = {record.reason for _, record in records if isinstance(record, Gap)}
    assert reasons <= {"File too large (errno 27)", "No space left on device (errno 28)"}


def test_extend_on_a_full_disk_stores_all_of_a_write_or_nothing(
    tmp_path: Path, read_spool: Read, full_disk: Callable[[int | None], None]
) -> None:
    spool = Spool(tmp_path)
    full_disk(10_000)
    spool.extend(metric(number) for number in range(1_000))
    spool.extend(metric(number) for number in range(100))
    full_disk(None)
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert values(records) == list(range(100))
    assert sum(gaps(records)) == spool.dropped == 1_000


def test_a_disk_that_is_full_from_the_start_stops_nothing(
    tmp_path: Path, read_spool: Read, full_disk: Callable[[int | None], None]
) -> None:
    spool = Spool(tmp_path)
    full_disk(10)
    for number in range(100):
        spool.append(metric(number))
    assert list(tmp_path.iterdir()) == []
    full_disk(None)
    spool.append(metric(100))
    (records,) = read_spool(tmp_path).values()
    assert (values(records), gaps(records)) == ([100], [100])


def test_a_torn_frame_that_cannot_be_taken_back_spoils_nothing_else(
    tmp_path: Path, full_disk: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    spool = Spool(tmp_path)
    spool.append(metric(1))
    monkeypatch.setattr(os, "ftruncate", broken)
    full_disk(100)
    spool.append(metric(2))
    full_disk(None)
    spool.append(metric(3))
    ((_, segments),) = list_streams(tmp_path).items()
    parts = list(SpoolReader(spool.stream).read(segments, ended=True))
    bodies = [frames.split(part.body) for part in parts if isinstance(part, frames.Run)]
    records = [(seq, decode(payload)) for body in bodies for seq, payload in body]
    assert (values(records), gaps(records)) == ([1, 2, 3], [])  # in a file of its own, for which there was room


def test_the_limit_drops_counts_and_resumes_when_the_server_has_deleted(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, segment_bytes=2**30, limit_bytes=256 * 1024)
    for number in range(10_000):
        spool.append(metric(number))
    size = sum(path.stat().st_size for path in tmp_path.glob("*.spool"))
    assert 256 * 1024 - RESERVE_BYTES <= size + 60 <= 256 * 1024
    dropped = spool.dropped
    (before,) = read_spool(tmp_path).values()
    # Not yet killed, it has already said that records are missing, and at least half of how many.
    assert dropped / 2 <= sum(gaps(before)) <= dropped
    assert len(values(before)) == 10_000 - dropped
    (segments,) = list_streams(tmp_path).values()
    for segment in segments[:-1]:
        segment.path.unlink()
    time.sleep(0.06)
    spool.append(metric(10_000))
    (after,) = read_spool(tmp_path).values()
    assert spool.dropped == dropped
    assert values(after)[-1] == 10_000
    both = dict(before) | dict(after)
    assert sum(gaps(list(both.items()))) == dropped
    assert "limit of 262144 bytes" in after[-1][1].reason


def test_a_full_spool_does_not_list_its_folder_for_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024)
    listed: list[int] = []
    real = Spool._bytes_on_disk
    monkeypatch.setattr(Spool, "_bytes_on_disk", lambda self: (listed.append(1), real(self))[1])
    started = time.monotonic()
    for number in range(20_000):
        spool.append(metric(number))
    assert spool.dropped > 10_000
    assert len(listed) <= 1 + (time.monotonic() - started) / 0.05


def test_close_reports_what_was_dropped_from_the_reserve(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024)
    for number in range(5_000):
        spool.append(metric(number))
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert sum(gaps(records)) == spool.dropped > 0
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 128 * 1024


def test_on_full_raise_says_so_and_counts(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024, on_full="raise")
    raised = 0
    for number in range(3_000):
        try:
            spool.append(metric(number))
        except SpoolFull:
            raised += 1
    assert raised == spool.dropped > 0
    with pytest.raises(SpoolFull, match="free some space"):
        spool.extend(metric(number, "k" * 1000) for number in range(1_000))
    assert spool.dropped == raised + 1_000  # the chunks after the first that failed are counted too
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert sum(gaps(records)) == spool.dropped


def test_on_full_block_waits_until_there_is_room(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024, on_full="block")
    done = threading.Event()

    def work() -> None:
        for number in range(2_000):
            spool.append(metric(number))
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not done.wait(0.2)
    kept: dict[int, Any] = {}
    while not done.wait(0.02):
        (segments,) = list_streams(tmp_path).values()
        (records,) = read_spool(tmp_path).values()
        kept |= records
        for segment in segments[:-1]:
            segment.path.unlink()
    thread.join()
    (records,) = read_spool(tmp_path).values()
    assert values(sorted((kept | dict(records)).items())) == list(range(2_000))
    assert spool.dropped == 0


# Durability.


def test_durability_process_never_waits_for_the_disk(tmp_path: Path, syncs: list[int]) -> None:
    spool = Spool(tmp_path, segment_bytes=200)
    spool.extend([metric(1)])
    for number in range(100):
        spool.append(metric(number))
    spool.close()
    assert syncs == []


def test_durability_disk_syncs_every_call_and_every_new_name(tmp_path: Path, syncs: list[int]) -> None:
    spool = Spool(tmp_path, durability="disk")
    spool.append(metric(0))
    assert len(syncs) == 2
    for number in range(10):
        spool.append(metric(number))
    spool.extend(metric(number) for number in range(100))
    assert len(syncs) == 2 + 11
    spool.blobs.put(b"x" * 100_000)
    assert len(syncs) == 2 + 12


def test_durability_host_syncs_in_the_background_also_after_close(
    tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "HOST_SYNC_SECONDS", 0.01)
    spool = Spool(tmp_path, durability="host")
    for attempt in range(2):
        spool.append(metric(attempt))
        syncer = spool._syncer
        assert syncer is not None
        before = len(syncs)
        deadline = time.monotonic() + 5
        while len(syncs) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(syncs) >= before + 2
        spool.close()
        syncer.join(5)
        assert not syncer.is_alive()


def test_a_log_call_does_not_wait_for_the_background_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        inside.set()
        leave.wait(10)

    spool = Spool(tmp_path)
    spool.append(metric(1))
    monkeypatch.setattr(os, "fdatasync", slow)
    thread = threading.Thread(target=spool.flush)
    thread.start()
    assert inside.wait(5)
    spool.append(metric(2))
    assert thread.is_alive()
    leave.set()
    thread.join()


def test_a_disk_that_does_not_confirm_stops_nothing_and_is_said_once(
    tmp_path: Path, read_spool: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    spool = Spool(tmp_path, durability="disk", segment_bytes=200)
    for number in range(10):
        spool.append(metric(number))
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert values(records) == list(range(10))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_durability_host_where_no_thread_starts_any_more(
    tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    spool = Spool(tmp_path, durability="host")
    spool.append(metric(1))
    assert len(syncs) == 2


# Interrupted, nested and forked calls.


class InterruptError(Exception):
    """What the timer raises."""


def test_an_interrupted_call_never_leads_to_two_records_with_one_number(tmp_path: Path, read_spool: Read) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptError

    spool = Spool(tmp_path, segment_bytes=20_000)
    before = signal.signal(signal.SIGALRM, interrupt)
    number = interrupts = 0
    returned = []
    try:
        while interrupts < 1_000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + interrupts % 50 * 1e-6)
                for _ in range(20_000):  # not for ever: logging, for one, swallows an exception
                    number += 1
                    spool.append(metric(number))
                    returned.append(number)
            except InterruptError:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    spool.append(metric(0))
    (records,) = read_spool(tmp_path).values()  # fails if two numbers are equal: the reader takes ascending ones
    assert set(returned) <= set(values(records))
    assert len(values(records)) <= number + 1
    assert values(records)[-1] == 0


def test_logging_in_a_signal_handler_inside_a_log_call(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    handled = []

    def handler(*_: object) -> None:
        handled.append(float(len(handled)))
        spool.append(metric(handled[-1], "handler"))
        spool.extend([metric(handled[-1], "handler-extend")])
        signal.setitimer(signal.ITIMER_REAL, 0.0003)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    try:
        number = 0
        while len(handled) < 300:
            spool.append(metric(number))
            number += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    streams = read_spool(tmp_path)
    assert len(streams) >= 2, "no handler ran inside a log call"
    by_key: dict[str, list[float]] = {}
    for records in streams.values():
        for _, record in records:
            by_key.setdefault(record.key, []).append(record.value)
    assert by_key["loss"] == list(range(number))
    assert sorted(by_key["handler"]) == sorted(by_key["handler-extend"]) == handled
    assert spool.stored == number + 2 * len(handled)


def test_closing_in_a_signal_handler_inside_a_log_call_loses_nothing(
    tmp_path: Path, read_spool: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.append(metric(0))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (spool.close(), real(fd, data))[1])
    spool.append(metric(1))
    monkeypatch.undo()
    (records,) = read_spool(tmp_path).values()
    assert values(records) == [0, 1]


def run_script(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a script with ``spool`` in ``tmp_path / "spool"`` and ``metric`` ready."""
    head = """
        import atexit, os, sys, threading
        from pathlib import Path
        from fedtrack.tracking.records import Metric
        from fedtrack.tracking.spool import Spool
        spool = Spool(Path(sys.argv[1]))
        def metric(value, key="loss"):
            return Metric(1, key, float(value))
    """
    script = textwrap.dedent(head) + textwrap.dedent(body)
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "spool")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_forks_under_load_have_streams_of_their_own(tmp_path: Path, read_spool: Read) -> None:
    result = run_script(
        tmp_path,
        """
        stop, counts = threading.Event(), [0, 0, 0]
        def work(index):
            while not stop.is_set():
                spool.append(metric(counts[index], f"thread-{index}"))
                counts[index] += 1
        threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for child in range(50):
            pid = os.fork()
            if pid == 0:
                for value in range(20):
                    spool.append(metric(value, f"child-{child}"))
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        print(*counts)
        """,
    )
    assert (result.returncode, result.stderr) == (0, "")
    by_key: dict[str, list[float]] = {}
    streams = read_spool(tmp_path / "spool")
    for records in streams.values():
        for _, record in records:
            by_key.setdefault(record.key, []).append(record.value)
    assert len(streams) == 51
    for index, count in enumerate(result.stdout.split()):
        assert by_key[f"thread-{index}"] == list(range(int(count)))
    for child in range(50):
        assert by_key[f"child-{child}"] == list(range(20))


def test_a_fork_inside_a_log_call_keeps_the_child_in_order(tmp_path: Path, read_spool: Read) -> None:
    """As by a signal handler; the parent's call goes on and stores what both were about to store."""
    result = run_script(
        tmp_path,
        """
        for value in range(5):
            spool.append(metric(value))
        from fedtrack.tracking import spool as module
        real = module.frame
        def forking(*arguments):
            data, module.frame = real(*arguments), real
            global pid
            pid = os.fork()
            if pid == 0:
                spool.append(metric(100))
            return data
        module.frame = forking
        spool.append(metric(5))
        spool.append(metric(6))
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        """,
    )
    assert (result.returncode, result.stderr) == (0, "")
    streams = sorted(values(records) for records in read_spool(tmp_path / "spool").values())
    assert streams == [[0, 1, 2, 3, 4, 5, 6], [6], [100]]


def test_the_last_words_of_a_process_survive(tmp_path: Path, read_spool: Read) -> None:
    result = run_script(
        tmp_path,
        """
        class Last:
            def __del__(self):
                spool.append(metric(3))
        last = Last()
        atexit.register(lambda: spool.append(metric(2)))
        spool.append(metric(0))
        threading.Thread(target=lambda: (spool.append(metric(1)), sys.exit())).start()
        """,
    )
    assert (result.returncode, result.stderr) == (0, "")
    (records,) = read_spool(tmp_path / "spool").values()
    assert values(records) == [0, 1, 2, 3]


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()", "raise SystemExit"])
def test_whatever_ends_a_process_returned_calls_survive(tmp_path: Path, read_spool: Read, end: str) -> None:
    run_script(tmp_path, f"for value in range(100): spool.append(metric(value))\n{end}")
    (records,) = read_spool(tmp_path / "spool").values()
    assert values(records) == list(range(100))


def test_other_kinds_are_stored_as_they_are(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    spool.append(Param(1, "lr", 0.1))
    (records,) = read_spool(tmp_path).values()
    assert records == [(1, Param(1, "lr", 0.1))]
