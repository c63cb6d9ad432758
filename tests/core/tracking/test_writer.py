"""A log call never raises because of a bad value, loses no value in silence, and keeps every bit of a good one."""

from __future__ import annotations

import logging
import math
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedtrack.testing import MemoryLog
from fedtrack.tracking.blobs import INLINE_LIMIT
from fedtrack.tracking.records import (
    Artifact,
    BlobRef,
    Histogram,
    Image,
    Metric,
    Param,
    Rejected,
    Tag,
    Text,
    decode,
    encode,
)
from fedtrack.tracking.writer import Writer


class PlainWriter(Writer):
    name = "plain"
    summary = "Has no dialect."


class LazyText(str):
    """Claims five gigabytes and has none of them."""

    def __len__(self) -> int:
        return 5 * 2**30

    def encode(self, *_: Any) -> bytes:
        raise AssertionError("it was encoded before its length was checked")


class Key(str):
    pass


class Number(float):
    pass


class Count(int):
    pass


class Raises:
    """Raises whatever is asked of it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name) if name.startswith("__") else self.error

    def __repr__(self) -> str:
        raise self.error

    __str__ = __float__ = __index__ = __len__ = __iter__ = __bytes__ = __repr__


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even a message")


#: RELIABILITY's poison: what has broken metric channels before.
POISON: list[Any] = [
    *(math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308, True, False, None, 0, -1, 10**9, 2**53 + 1),
    *(2**63, 2**64 - 1, -(2**63), -(2**63) - 1, 2**80, 10**400, 1j, Number(0.5), Count(3)),
    *(np.float16(0.1), np.float32(0.1), np.int8(1), np.bool_(True), np.datetime64("2020-01-01")),
    *(np.array(1.5), np.array([1.5]), np.array([1.0, 2.0]), np.array([])),
    *("", "loss", "x" * 10_000, "../../x", "/", "nul\0", "\udc80", "\u202egnp", "\x1b]0;x\x07", "🎯"),
    *(LazyText("x"), Key("key"), b"bytes", bytearray(b"x"), memoryview(b"x"), Path("x")),
    *([1.0], (), {}, {1: 2}, {"a": object()}, set(), iter([1]), lambda: 1, object(), object, type, ...),
    *(Raises(RuntimeError("no")), Raises(MuteError()), Raises(UnicodeDecodeError("utf-8", b"", 0, 1, "no"))),
    *(Exception(), threading.Lock(), NotImplemented),
]

ANYTHING = (
    st.sampled_from(POISON)
    | st.floats()
    | st.integers()
    | st.text()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.none()
    | st.booleans()
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.lists(st.floats())
    | st.dictionaries(st.text(), st.floats())
)

everything = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, logger="fedtrack"):
        yield


def only(log: MemoryLog) -> Any:
    (record,) = log.records
    log.records.clear()
    return record


@everything
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
@example("loss", 1.0, 2**63, None)
@example("loss", 1.0, None, 2**70)
@example("loss", 1.0, None, "now")
def test_any_metric_is_kept_or_counted(memory_log: MemoryLog, key: Any, value: Any, step: Any, at: Any) -> None:
    PlainWriter().record_metric(key, value, step, at)
    record = only(memory_log)
    assert isinstance(record, Metric | Rejected)
    if isinstance(record, Metric):
        assert record.key == key
        assert record.step in (None, step)
        assert -(2**63) <= record.time_ns < 2**63
    else:
        assert record.reason
        assert record.reason.isprintable()


@everything
@given(st.text(min_size=1, max_size=200), st.floats(), st.none() | st.integers(-(2**63), 2**63 - 1))
def test_good_metrics_are_kept_bit_by_bit(memory_log: MemoryLog, key: str, value: float, step: int | None) -> None:
    PlainWriter().record_metric(key, value, step)
    record = only(memory_log)
    assert (record.key, record.step, struct.pack(">d", record.value)) == (key, step, struct.pack(">d", value))


@everything
@given(ANYTHING, ANYTHING, ANYTHING)
def test_no_other_log_call_raises_either(memory_log: MemoryLog, first: Any, second: Any, third: Any) -> None:
    writer = PlainWriter()
    writer.record_param(first, second)
    writer.record_tag(first, second)
    writer.record_text(first, second, third)
    writer.record_image(first, second, third)
    writer.record_image("image", b"png", 0, format=first)
    writer.record_histogram(first, second, third)
    writer.record_artifact(first, second)
    assert len(memory_log.records) == 7
    for record in memory_log.records:
        assert decode(encode(record)) is not None
    memory_log.records.clear()


@everything
@given(st.dictionaries(st.text() | st.integers() | st.none(), ANYTHING, max_size=8), ANYTHING)
def test_one_bad_value_does_not_take_the_others_along(memory_log: MemoryLog, metrics: Any, step: Any) -> None:
    PlainWriter().record_metrics({**metrics, "loss": 0.5}, step=7)
    records = list(memory_log.records)
    memory_log.records.clear()
    assert len(records) == len({**metrics, "loss": 0.5})
    assert any(isinstance(r, Metric) and (r.key, r.value, r.step) == ("loss", 0.5, 7) for r in records)
    PlainWriter().record_metrics({"loss": 0.5, "acc": 0.25}, step=step)
    assert len({type(record) for record in memory_log.records}) == 1
    memory_log.records.clear()


@pytest.mark.parametrize("metrics", [None, 5, "loss", ["loss"], Raises(RuntimeError("no"))])
def test_metrics_that_are_no_mapping_are_counted(memory_log: MemoryLog, metrics: Any) -> None:
    PlainWriter().record_metrics(metrics)
    assert isinstance(only(memory_log), Rejected)


def test_metrics_of_one_call_share_their_time(memory_log: MemoryLog) -> None:
    PlainWriter().record_metrics({"a": 1, "b": 2})
    assert len({record.time_ns for record in memory_log.records if isinstance(record, Metric)}) == 1


def test_a_time_that_is_given_is_kept(memory_log: MemoryLog) -> None:
    PlainWriter().record_metric("loss", 0.5, time=12_345)
    assert only(memory_log).time_ns == 12_345
    PlainWriter().record_metrics({"loss": 0.5}, time=0)
    assert only(memory_log).time_ns == 0


def test_time_is_now_if_none_is_given(memory_log: MemoryLog) -> None:
    before = time.time_ns()
    PlainWriter().record_metric("loss", 0.5)
    assert before <= only(memory_log).time_ns <= time.time_ns()


@pytest.mark.parametrize("call", ["record_text", "record_tag", "record_param", "record_metric"])
def test_text_that_claims_gigabytes_is_refused_at_once(memory_log: MemoryLog, call: str) -> None:
    started = time.perf_counter()
    getattr(PlainWriter(), call)("note", LazyText("x"))
    getattr(PlainWriter(), call)(LazyText("x"), "note")
    assert time.perf_counter() - started < 1.0
    assert [type(record) for record in memory_log.records] == [Rejected, Rejected]


def test_a_rejected_value_says_which_and_why(memory_log: MemoryLog, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="fedtrack"):
        writer = PlainWriter()
        for _ in range(3):
            writer.record_metric("acc", [1.0])
    assert [(r.key, r.reason) for r in memory_log.records if isinstance(r, Rejected)] == [
        ("'acc'", "the value [1.0] is a list; a metric is a number")
    ] * 3
    assert len(caplog.records) == 1  # once per key: a warning per step would fill the disk
    assert "counted as rejected" in caplog.text


@pytest.mark.parametrize("log_it", [lambda w, v: w.record_metric("on", v), lambda w, v: w.record_metrics({"on": v})])
def test_a_bool_is_a_number_and_said_once(memory_log: MemoryLog, caplog: pytest.LogCaptureFixture, log_it: Any) -> None:
    writer = PlainWriter()
    with caplog.at_level(logging.WARNING, logger="fedtrack"):
        for value in (True, False, np.bool_(True)):
            log_it(writer, value)
    assert [r.value for r in memory_log.records if isinstance(r, Metric)] == [1.0, 0.0, 1.0]
    assert [record.message for record in caplog.records] == [
        "PlainWriter: the value of 'on' is a bool; bools are logged as 1.0 and 0.0 (said once)"
    ]


@pytest.mark.parametrize("kind", [Param, Tag])
def test_a_long_value_is_shown_cut_and_kept_whole(memory_log: MemoryLog, kind: type[Param] | type[Tag]) -> None:
    value = "é" * 10_000
    writer = PlainWriter()
    log_it = writer.record_param if kind is Param else writer.record_tag
    log_it("config", value)
    log_it("config", "x" * 16_384)
    whole, shown, fitting = memory_log.records
    assert isinstance(whole, Artifact)
    assert memory_log.blobs.read(whole.data).decode() == value
    assert isinstance(shown, kind)
    assert str(shown.value).startswith("é" * 4_000)
    assert whole.path in str(shown.value)
    assert isinstance(fitting, kind)
    assert fitting.value == "x" * 16_384


def test_warnings_end_after_a_hundred_keys(memory_log: MemoryLog, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="fedtrack"):
        writer = PlainWriter()
        for i in range(150):
            writer.record_metric(f"key-{i}", None)
    assert len(caplog.records) == 100
    assert len(memory_log.records) == 150


def test_a_wrong_keyword_is_a_type_error(memory_log: MemoryLog) -> None:
    with pytest.raises(TypeError, match="global_step"):
        PlainWriter().record_metric("loss", 0.5, global_step=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "sgd", 2**64 - 1])
def test_params_keep_their_type(memory_log: MemoryLog, value: Any) -> None:
    PlainWriter().record_param("p", value)
    record = only(memory_log)
    assert isinstance(record, Param)
    assert type(record.value) is type(value)
    assert record.value == value


def test_tags_are_text(memory_log: MemoryLog) -> None:
    PlainWriter().record_tag("epoch", 3)
    record = only(memory_log)
    assert isinstance(record, Tag)
    assert record.value == "3"


@pytest.mark.parametrize("text", ["", "short", "ä" * 100, "🎯" * INLINE_LIMIT])
def test_text_is_kept_wherever_it_lies(memory_log: MemoryLog, text: str) -> None:
    PlainWriter().record_text("note", text, step=2)
    record = only(memory_log)
    assert isinstance(record, Text)
    assert memory_log.blobs.read_text(record.text) == text
    assert isinstance(record.text, BlobRef) == (len(text) > INLINE_LIMIT // 4)


@pytest.mark.parametrize("size", [0, INLINE_LIMIT, INLINE_LIMIT + 1])
def test_bytes_are_kept_wherever_they_lie(memory_log: MemoryLog, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"\xff" * (size % 256)
    for data in (content, bytearray(content), memoryview(content)):
        PlainWriter().record_artifact("models/best.bin", data)  # type: ignore[arg-type]
        record = only(memory_log)
        assert isinstance(record, Artifact)
        assert memory_log.blobs.read(record.data) == content
        assert isinstance(record.data, BlobRef) == (size > INLINE_LIMIT)


def test_images_name_their_format(memory_log: MemoryLog) -> None:
    PlainWriter().record_image("sample", b"\xff\xd8", step=1, format="jpeg")
    record = only(memory_log)
    assert isinstance(record, Image)
    assert (record.format, record.step) == ("jpeg", 1)
    PlainWriter().record_image("sample", b"GIF89a", format="gif")
    assert "'gif' is unknown; valid are 'png' and 'jpeg'" in only(memory_log).reason


def test_histograms_are_kept(memory_log: MemoryLog) -> None:
    counts, edges = np.histogram([1.0, 2.0, 2.5], bins=2)
    PlainWriter().record_histogram("weights", edges, counts, step=1)
    record = only(memory_log)
    assert isinstance(record, Histogram)
    assert (record.edges, record.counts) == ((1.0, 1.75, 2.5), (1.0, 2.0))


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([0, 1], []),
        ([0], []),
        ([0, 1], [1, 2]),
        ([1, 0], [1]),
        ([0, 0], [1]),
        ([0, math.nan], [1]),
        ([0, 1], [True]),
    ],
)
def test_what_is_no_histogram_is_counted(memory_log: MemoryLog, edges: Any, counts: Any) -> None:
    PlainWriter().record_histogram("weights", edges, counts)
    assert isinstance(only(memory_log), Rejected)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/./b", "a\\b", "a\0b", "", ".", "a/.."])
def test_paths_that_lead_elsewhere_are_counted(memory_log: MemoryLog, path: str) -> None:
    PlainWriter().record_artifact(path, b"x")
    assert isinstance(only(memory_log), Rejected)


def test_a_full_disk_costs_the_value_and_not_the_training(memory_log: MemoryLog, tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.touch()
    memory_log.blobs.folder = obstacle / "blobs"  # no folder can be made here, as on a full disk
    PlainWriter().record_artifact("big.bin", bytes(INLINE_LIMIT + 1))
    assert "NotADirectoryError" in only(memory_log).reason
