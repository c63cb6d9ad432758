"""The fast path of a plain metric into the spool, in C or in Python: bytes, numbers and refusals.

``FEDTRACK_SPEEDUPS=0`` runs these tests, like all others, without the compiled code.
"""

import math
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedtrack.spool import frames
from fedtrack.spool.shared import SharedSpool
from fedtrack.spool.spool import Spool
from fedtrack.tracking import normalise
from fedtrack.tracking.records import Metric, Rejected, decode, encode
from fedtrack.tracking.writer import Writer
from support.spooled import Read, compiled, metric, opened

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=63)
STEPS = st.none() | st.integers(-(2**63), 2**63 - 1)
#: Where msgpack begins to need another byte.
EDGES = [sign * 2**bits + off for sign in (1, -1) for bits in (5, 7, 8, 15, 16, 31, 32, 62) for off in (-1, 0, 1)]


def last_frame(spool: Spool) -> bytes:
    (path,) = spool.folder.glob(f"{spool.stream}-*.spool")
    data = path.read_bytes()[frames.HEADER_SIZE :]
    scan = frames.scan(data, frames.salt_of(spool.stream), previous=0, after_seq=spool._next_seq - 2, final=True)
    (run,) = scan.parts
    assert isinstance(run, frames.FrameRange)
    return run.body


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Spool:
    return opened(tmp_path_factory.mktemp("spool"), segment_bytes=2**30)


@given(key=KEYS, value=st.floats(allow_nan=True), step=STEPS)
@example(key="k" * 31, value=-0.0, step=0)
@example(key="k" * 32, value=math.inf, step=-1)
@example(key="k" * 255, value=struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\x7f")[0], step=-32)
@example(key="é" * 127, value=5e-324, step=-33)
@settings(max_examples=300, deadline=None)
def test_its_bytes_are_those_of_an_encoded_record_in_a_frame(
    spool: Spool, key: str, value: float, step: int | None
) -> None:
    before = time.time_ns()
    assert spool.append_metric(key, value, step)
    found = last_frame(spool)
    ((seq, payload),) = frames.split(found)
    record = decode(payload)
    assert before <= record.time_ns <= time.time_ns()
    expected = encode(Metric(record.time_ns, key, value, step))
    assert found == frames.frame(seq, expected, frames.salt_of(spool.stream))


@pytest.mark.parametrize("step", EDGES)
def test_each_length_of_an_integer_is_written_as_the_encoder_does(spool: Spool, step: int) -> None:
    assert spool.append_metric("k", 1.0, step)
    ((_, payload),) = frames.split(last_frame(spool))
    assert payload == encode(Metric(decode(payload).time_ns, "k", 1.0, step))


NOT_PLAIN = [
    ("", 1.0, 0),
    ("k" * 2000, 1.0, 0),
    ("\ud800", 1.0, 0),
    (b"k", 1.0, 0),
    (type("Key", (str,), {})("k"), 1.0, 0),
    ("k", True, 0),
    ("k", "1.0", 0),
    ("k", None, 0),
    ("k", np.float64(1), 0),
    ("k", np.float32(1), 0),
    ("k", 10**400, 0),
    ("k", 1.0, True),
    ("k", 1.0, 2**63),
    ("k", 1.0, -(2**63) - 1),
    ("k", 1.0, 1.0),
    ("k", 1.0, "1"),
]


@pytest.mark.parametrize(("key", "value", "step"), NOT_PLAIN)
def test_what_is_not_plain_is_left_alone(tmp_path: Path, key: Any, value: Any, step: Any) -> None:
    spool = opened(tmp_path)
    size = spool._segment_size
    assert not spool.append_metric(key, value, step)
    assert not spool.append_metrics({"plain": 1.0, key: value}, step, None)
    assert (spool.stored, spool._segment_size) == (1, size)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) == size


@compiled
@pytest.mark.parametrize(("metrics", "moment"), [([("k", 1.0)], None), ({}, None), ({"k": 1.0}, -1), ({"k": 1.0}, 2.0)])
def test_what_are_no_plain_metrics_is_left_alone(tmp_path: Path, metrics: Any, moment: Any) -> None:
    spool = opened(tmp_path)
    assert not spool.append_metrics(metrics, 1, moment)
    assert spool.stored == 1


@compiled
@pytest.mark.parametrize("count", [1, 8, 9, 1_000])
def test_many_metrics_are_stored_in_order_with_their_time(tmp_path: Path, read_spool: Read, count: int) -> None:
    spool = opened(tmp_path)
    metrics = {f"layer-{number}": number / 8 if number % 2 else number for number in range(count)}
    assert spool.append_metrics(metrics, 5, 17)
    assert spool.append_metric("last", 1.0, None)
    (records,) = read_spool(tmp_path).values()
    expected = [Metric(17, key, float(value), 5) for key, value in metrics.items()]
    assert records[1:-1] == list(enumerate(expected, start=2))
    assert records[-1][0] == spool.stored == count + 2


@compiled
def test_more_metrics_than_one_write_takes_are_left_to_python(tmp_path: Path, read_spool: Read) -> None:
    spool = opened(tmp_path)
    metrics = {f"{number:0200}": 1.0 for number in range(2_000)}
    assert not spool.append_metrics(metrics, 1, None)
    Writer(spool).record_metrics(metrics, 1)
    (records,) = read_spool(tmp_path).values()
    assert [record.key for _, record in records[1:]] == list(metrics)


@pytest.mark.parametrize("site", ["a", "é" * 16, "s" * 63, "z" * 255])
def test_a_hosted_metric_carries_its_site(tmp_path: Path, site: str) -> None:
    spool = SharedSpool(tmp_path)
    spool.enter(site)
    spool.append(metric(0))
    assert spool.append_metric("k" * 100, 0.5, 7)
    found = last_frame(spool)
    ((seq, payload),) = frames.split(found)
    time_ns = decode(payload[len(spool._prefix) :]).time_ns
    expected = spool._encode(Metric(time_ns, "k" * 100, 0.5, 7))
    assert found == frames.frame(seq, expected, frames.salt_of(spool.stream))


def test_threads_that_take_both_ways_share_a_stream(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, segment_bytes=5_000)
    writer = Writer(spool)

    def work(name: str) -> None:
        for number in range(2_000):
            writer.record_metric(name, float(number) if number % 3 else np.float32(number), number)
            if number % 5 == 0:
                writer.record_metrics({f"{name}-a": float(number), f"{name}-b": float(number)}, number)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(f"thread-{index}",)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    (records,) = read_spool(tmp_path).values()
    assert [seq for seq, _ in records] == list(range(1, 4 * 2_800 + 1))
    by_key: dict[str, list[float]] = {}
    for _, record in records:
        by_key.setdefault(record.key, []).append(record.value)
    for index in range(4):
        assert by_key[f"thread-{index}"] == list(range(2_000))
        assert by_key[f"thread-{index}-a"] == by_key[f"thread-{index}-b"] == list(range(0, 2_000, 5))


SCALARS = [np.float64(0.1), np.float32(0.1), np.int64(3), np.array([0.5]), 3, 0.25, np.float16(np.nan), 2**63]


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
def test_a_scalar_of_any_kind_is_the_float_that_normalising_makes_of_it(
    tmp_path: Path, read_spool: Read, scalar: Any
) -> None:
    spool = opened(tmp_path)
    writer = Writer(spool)
    writer.record_metric("alone", scalar, 1)
    writer.record_metrics({"a": scalar, "b": scalar}, 2)
    writer.record_metric("timed", scalar, 3, time=5)
    (records,) = read_spool(tmp_path).values()
    found = [(record.key, struct.pack("<d", record.value), record.step) for _, record in records[1:]]
    bits = struct.pack("<d", normalise.number(scalar))
    assert found == [("alone", bits, 1), ("a", bits, 2), ("b", bits, 2), ("timed", bits, 3)]


def test_what_only_looks_like_a_number_is_rejected_and_counted(tmp_path: Path, read_spool: Read) -> None:
    writer = Writer(opened(tmp_path))
    for bad in (np.array([1.0, 2.0]), np.array("one"), np.complex64(1)):
        writer.record_metric("bad", bad, 1)
        writer.record_metrics({"good": 1.0, "bad": bad}, 1)
    (records,) = read_spool(tmp_path).values()
    kinds = [(type(record), record.key) for _, record in records[1:]]
    assert kinds == [(Rejected, "'bad'"), (Metric, "good"), (Rejected, "'bad'")] * 3
