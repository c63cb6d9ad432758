"""Spool: log calls that are interrupted, nested or forked, and processes that end."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fedtrack.spool.base import PythonSpoolBase, SpoolBase
from fedtrack.spool.spool import Spool
from support.spooled import PUTS, Put, Read, metric, values


class InterruptError(Exception):
    """What the timer raises."""


def test_an_interrupted_call_never_leads_to_two_records_with_one_number(
    put: Put, tmp_path: Path, read_spool: Read
) -> None:
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
                    put(spool, metric(number))
                    returned.append(number)
            except InterruptError:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    put(spool, metric(0))
    (records,) = read_spool(tmp_path).values()  # fails if two numbers are equal: the reader takes ascending ones
    assert set(returned) <= set(values(records))
    assert len(values(records)) <= number + 1
    assert values(records)[-1] == 0


def test_logging_in_a_signal_handler_inside_a_log_call(put: Put, tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    handled = []

    def handler(*_: object) -> None:
        handled.append(float(len(handled)))
        put(spool, metric(handled[-1], "handler"))
        spool.extend([metric(handled[-1], "handler-extend")])
        signal.setitimer(signal.ITIMER_REAL, 0.0003)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    try:
        number = 0
        while len(handled) < 300:
            put(spool, metric(number))
            number += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    streams = read_spool(tmp_path)
    inside = put is PUTS["record"] or SpoolBase is PythonSpoolBase  # what is compiled is not interrupted
    assert len(streams) >= 2 or not inside, "no handler ran inside a log call"
    by_key: dict[str, list[float]] = {}
    for records in streams.values():
        for _, record in records:
            by_key.setdefault(record.key, []).append(record.value)
    assert by_key["loss"] == list(range(number))
    assert sorted(by_key["handler"]) == sorted(by_key["handler-extend"]) == handled
    assert spool.stored == number + 2 * len(handled)


def test_closing_in_a_signal_handler_inside_a_log_call_loses_nothing(
    put: Put, tmp_path: Path, read_spool: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    put(spool, metric(0))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (spool.close(), real(fd, data))[1])
    put(spool, metric(1))
    monkeypatch.undo()
    (records,) = read_spool(tmp_path).values()
    assert values(records) == [0, 1]


@pytest.fixture(params=["record", "plain"])
def way(request: pytest.FixtureRequest) -> str:
    """How ``put`` does it in a script; see spooled.PUTS."""
    return str(request.param)


def run_script(tmp_path: Path, way: str, body: str) -> subprocess.CompletedProcess[str]:
    """Run a script with ``spool`` in ``tmp_path / "spool"`` and ``put`` ready."""
    head = """
        import atexit, os, sys, threading
        from pathlib import Path
        from fedtrack.tracking.records import Metric
        from fedtrack.spool.spool import Spool
        spool = Spool(Path(sys.argv[1]))
        plain = sys.argv[2] == "plain"
        def put(value, key="loss"):
            if not plain or not spool.append_metric(key, float(value), None):
                spool.append(Metric(1, key, float(value)))
    """
    script = textwrap.dedent(head) + textwrap.dedent(body)
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "spool"), way]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_forks_under_load_have_streams_of_their_own(way: str, tmp_path: Path, read_spool: Read) -> None:
    result = run_script(
        tmp_path,
        way,
        """
        stop, counts = threading.Event(), [0, 0, 0]
        def work(index):
            while not stop.is_set():
                put(counts[index], f"thread-{index}")
                counts[index] += 1
        threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for child in range(50):
            pid = os.fork()
            if pid == 0:
                for value in range(20):
                    put(value, f"child-{child}")
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


def test_a_fork_inside_a_log_call_keeps_the_child_in_order(way: str, tmp_path: Path, read_spool: Read) -> None:
    """As by a signal handler; the parent's call goes on and stores what both were about to store."""
    if way == "plain" and SpoolBase is not PythonSpoolBase:
        pytest.skip("no signal handler runs inside of what is compiled")
    result = run_script(
        tmp_path,
        way,
        """
        for value in range(5):
            put(value)
        import fedtrack.spool.spool, fedtrack.spool.base
        module = fedtrack.spool.base if plain else fedtrack.spool.spool
        real = module.frame
        def forking(*arguments):
            data, module.frame = real(*arguments), real
            global pid
            pid = os.fork()
            if pid == 0:
                put(100)
            return data
        module.frame = forking
        put(5)
        put(6)
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        """,
    )
    assert (result.returncode, result.stderr) == (0, "")
    streams = sorted(values(records) for records in read_spool(tmp_path / "spool").values())
    assert streams == [[0, 1, 2, 3, 4, 5, 6], [6], [100]]


def test_the_last_words_of_a_process_survive(way: str, tmp_path: Path, read_spool: Read) -> None:
    result = run_script(
        tmp_path,
        way,
        """
        class Last:
            def __del__(self):
                put(3)
        last = Last()
        atexit.register(lambda: put(2))
        put(0)
        threading.Thread(target=lambda: (put(1), sys.exit())).start()
        """,
    )
    assert (result.returncode, result.stderr) == (0, "")
    (records,) = read_spool(tmp_path / "spool").values()
    assert values(records) == [0, 1, 2, 3]


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()", "raise SystemExit"])
def test_whatever_ends_a_process_returned_calls_survive(way: str, tmp_path: Path, read_spool: Read, end: str) -> None:
    run_script(tmp_path, way, f"for value in range(100): put(value)\n{end}")
    (records,) = read_spool(tmp_path / "spool").values()
    assert values(records) == list(range(100))
