"""The doubles behave as tests of delivery and of writers expect."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fedtrack import Batch, Permanent, Transient
from fedtrack.testing import FaultyReceiver, MemoryLog, run_info
from fedtrack.tracking.records import Artifact, Metric, Rejected, Text

STREAM = "a" * 32


def points(*keys: str) -> Batch:
    return Batch("site-1", STREAM, range(len(keys)), [Metric(i, key, float(i), i) for i, key in enumerate(keys)])


def opened(tmp_path: Path, **faults: object) -> FaultyReceiver:
    receiver = FaultyReceiver(**faults)
    receiver.open(run_info(tmp_path / "run"))
    return receiver


def test_transient_faults_end_and_leave_half_a_batch(tmp_path: Path) -> None:
    receiver = opened(tmp_path, transient=2)
    for _ in range(2):
        with pytest.raises(Transient):
            receiver.receive(points("a", "b", "c", "d"))
        assert [s.key for s in receiver.stored] == ["a", "b"]
    receiver.receive(points("a", "b", "c", "d"))
    assert [s.key for s in receiver.stored] == ["a", "b", "c", "d"]


def test_open_fails_as_often_as_it_is_told(tmp_path: Path) -> None:
    receiver = FaultyReceiver(open_transient=1)
    with pytest.raises(Transient):
        receiver.open(run_info(tmp_path / "run"))
    receiver.open(run_info(tmp_path / "run"))
    assert receiver.calls == ["open", "open"]


def test_unknown_errors_come_after_the_transient_ones(tmp_path: Path) -> None:
    receiver = opened(tmp_path, transient=1, errors=1)
    with pytest.raises(Transient):
        receiver.receive(points("a"))
    with pytest.raises(RuntimeError):
        receiver.receive(points("a"))
    receiver.receive(points("a"))
    assert len(receiver.stored) == 1


def test_refused_keys_are_named_and_the_others_stored(tmp_path: Path) -> None:
    receiver = opened(tmp_path, permanent=["bad"])
    with pytest.raises(Permanent) as caught:
        receiver.receive(points("a", "bad", "c", "bad"))
    assert caught.value.indices == (1, 3)
    assert [s.key for s in receiver.stored] == ["a", "c"]


def test_refused_keys_that_are_not_named_refuse_the_whole_batch(tmp_path: Path) -> None:
    receiver = opened(tmp_path, permanent=["bad"], names_indices=False)
    with pytest.raises(Permanent) as caught:
        receiver.receive(points("a", "bad"))
    assert caught.value.indices is None
    assert receiver.stored == []
    receiver.receive(points("a"))
    assert [s.key for s in receiver.stored] == ["a"]


def test_a_hanging_receiver_goes_on_when_it_is_released(tmp_path: Path) -> None:
    receiver = opened(tmp_path, hangs=True)
    thread = threading.Thread(target=receiver.receive, args=(points("a"),))
    thread.start()
    assert receiver.hanging.wait(10)
    assert receiver.stored == []
    receiver.release.set()
    thread.join(10)
    assert [s.key for s in receiver.stored] == ["a"]


def test_a_log_refuses_what_a_spool_could_not_hold(tmp_path: Path) -> None:
    log = MemoryLog(tmp_path)
    with pytest.raises(UnicodeEncodeError):
        log.append(Metric(0, "\udc80", 1.0))
    with pytest.raises(UnicodeEncodeError):
        log.extend([Metric(0, "loss", 1.0), Metric(0, "\udc80", 1.0)])
    assert log.records == []


def test_records_that_no_receiver_supports_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Rejected"):
        opened(tmp_path).receive(Batch("site-1", STREAM, [0], [Rejected(0, "k", "why")]))


def test_large_values_are_resolved_through_the_run(tmp_path: Path) -> None:
    run = run_info(tmp_path / "run")
    text, data = run.blobs.put(b"long text"), run.blobs.put(b"bytes")
    receiver = FaultyReceiver()
    receiver.open(run)
    receiver.receive(Batch("site-1", STREAM, [3, 9], [Text(0, "note", text), Artifact(0, "f.bin", data)]))
    assert [(s.key, s.value) for s in receiver.stored] == [("note", "long text"), ("f.bin", b"bytes")]


def test_a_second_receiver_finds_the_runs_store(tmp_path: Path) -> None:
    opened(tmp_path).receive(points("a"))
    again = opened(tmp_path)
    again.receive(points("a", "b"))
    assert [s.key for s in again.stored] == ["a", "b"]
