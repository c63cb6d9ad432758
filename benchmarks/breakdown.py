"""Breakdown: the time of each part of a log call, and of each station of a delivered event."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns, time_ns

from benchmarks.python_spool import python_spool
from benchmarks.table import Table
from fedtrack.delivery.load import Load
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.spool.spool import Spool
from fedtrack.testing import run_info
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.records import Metric, encode
from fedtrack.tracking.writer import Writer
from fedtrack.transport.spool_source import SpoolSource

title = "Where the time goes"

EVENTS = 10_000
KEY, VALUE, STEP = "train_loss", 0.5, 1234


def nanoseconds(call: Callable[[], object], repeats: int, inner: int = 1) -> float:
    """Return the median time of a call, divided by its ``inner`` repetitions."""
    taken = []
    for _ in range(repeats):
        started = perf_counter_ns()
        call()
        taken.append(perf_counter_ns() - started)
    return median(taken) / inner


def _repeated(call: Callable[[], object], repeats: int) -> float:
    """Return the time of a call that is too short to be timed on its own."""

    def block() -> None:
        for _ in range(100):
            call()

    return nanoseconds(block, repeats, 100)


def log_call(folder: Path, repeats: int) -> list[tuple[str, float | None, float]]:
    """Return the parts of a log call, each with its nanoseconds in the compiled spool and in Python."""
    spool, in_python = Spool(folder / "spool"), python_spool()(folder / "python")
    writer, python_writer = Writer(spool), Writer(in_python)
    salt = frames.salt_of(spool.stream)
    record = Metric(time_ns(), KEY, VALUE, STEP)
    payload = encode(record)
    data = frames.frame(STEP, payload, salt)
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    loop = _repeated(lambda: None, repeats)
    write = _repeated(lambda: os.write(descriptor, data), repeats) - loop
    parts = {
        "the clock and the record": _repeated(lambda: Metric(time_ns(), KEY, VALUE, STEP), repeats) - loop,
        "msgpack": _repeated(lambda: encode(record), repeats) - loop,
        "the frame and its checksum": _repeated(lambda: frames.frame(STEP, payload, salt), repeats) - loop,
    }
    os.close(descriptor)
    whole = _repeated(lambda: writer.record_metric(KEY, VALUE, STEP), repeats) - loop
    in_python_whole = _repeated(lambda: python_writer.record_metric(KEY, VALUE, STEP), repeats) - loop
    spool.close()
    in_python.close()
    rest = in_python_whole - write - sum(parts.values())
    return [
        ("one write of as many bytes, by `os.write`", None, write),
        *((name, None, taken) for name, taken in parts.items()),
        ("everything else", None, rest),
        ("one call of `record_metric`", whole, in_python_whole),
    ]


def event(folder: Path, repeats: int) -> dict[str, float]:
    """Return the nanoseconds that each station of an event takes, in passes of many events."""
    spool = Spool(folder / "passes")
    spool.extend(Metric(time_ns(), KEY, VALUE, step) for step in range(EVENTS))
    spool.close()
    stream, segments = next(iter(list_streams(spool.folder).items()))

    def read() -> list[frames.FrameRange]:
        return [part for part in SpoolReader(stream).read(segments, ended=True) if isinstance(part, frames.FrameRange)]

    runs, stored = read(), 0
    journal = Journal(folder / "journal.db")
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(folder / "blobs"))

    def store() -> None:
        nonlocal stored
        stored += 1
        portion = source._portion(stream, runs)
        journal.apply_all([(f"site-{stored}", stream, run) for _, stream, run in portion.batches])

    found = {
        "reading the spool, with a checksum of each frame": nanoseconds(read, repeats, EVENTS),
        "the journal's row and COMMIT": nanoseconds(store, repeats, EVENTS),
    }
    receiver = _tensorboard()
    found["reading the journal, decoding the records"] = nanoseconds(
        lambda: Load("receiver", journal.read(0, limit_bytes=1), receiver.supports, lambda site: True, 1_000),
        repeats,
        EVENTS,
    )
    for name, opened in {"TensorBoard": _tensorboard, "MLflow, SQLite": _mlflow}.items():
        found[f"the receiver: {name}"] = _received(opened(), folder / name, max(repeats // 5, 3))
    journal.close()
    return found


def _received(receiver: Receiver, folder: Path, repeats: int) -> float:
    folder.mkdir()
    receiver.open(run_info(folder, sites=["site-1"]))
    step, stream = 0, "ab" * 16

    def receive() -> None:
        nonlocal step
        records = [Metric(time_ns(), KEY, VALUE, step + number) for number in range(1000)]
        receiver.receive(Batch("site-1", stream, range(step + 1, step + 1001), records))
        receiver.flush()
        step += 1000

    receive()  # imports and creates
    taken = nanoseconds(receive, repeats, 1000)
    receiver.close("completed")
    return taken


def _tensorboard() -> Receiver:
    from fedtrack_tensorboard import TBAnalyticsReceiver

    return TBAnalyticsReceiver()


def _mlflow() -> Receiver:
    from fedtrack_mlflow import MLflowReceiver

    return MLflowReceiver()


def run(quick: bool = True) -> list[Table]:
    """Return the tables."""
    repeats = 200 if quick else 1000
    with tempfile.TemporaryDirectory() as temporary:
        call_rows = [
            (name, "" if compiled is None else f"{compiled:,.0f}", f"{in_python:,.0f}")
            for name, compiled, in_python in log_call(Path(temporary), repeats)
        ]
        stations = event(Path(temporary), repeats // 10)
    event_rows = [(name, f"{taken:,.0f}") for name, taken in stations.items()]
    call_note = (
        "Medians, in warm loops. What is compiled cannot be taken apart from Python: it makes the frame and the system "
        "call itself, and the system call takes less than `os.write`, which gives the interpreter's lock away for it."
    )
    note = f"Medians, each part in a loop of its own; a pass has {EVENTS:,} events, a call of a receiver 1,000."
    return [
        Table("Where the time of a log call goes", ("part", "ns", "ns, not compiled"), call_rows, call_note),
        Table("Where the time of an event goes", ("station", "ns per event"), event_rows, note),
    ]
