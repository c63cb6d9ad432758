"""Records survive their encoding bit by bit, and decoding foreign bytes raises only the documented errors."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedtrack.tracking.records import (
    KINDS,
    AnyRecord,
    Artifact,
    BlobRef,
    Control,
    Gap,
    Histogram,
    Image,
    Metric,
    Param,
    Rejected,
    RoundMark,
    Tag,
    Text,
    decode,
    encode,
    is_control,
    kind_of,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text()
STEP = st.none() | INT64
BLOB = st.builds(BlobRef, TEXT, st.integers(0, 2**63 - 1))
BYTES = st.binary() | BLOB
SCALAR = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT
FLOATS = st.lists(st.floats()).map(tuple)

RECORDS = st.one_of(
    st.builds(Metric, INT64, TEXT, st.floats(), STEP),
    st.builds(Param, INT64, TEXT, SCALAR),
    st.builds(Tag, INT64, TEXT, TEXT),
    st.builds(Text, INT64, TEXT, TEXT | BLOB, STEP),
    st.builds(Image, INT64, TEXT, BYTES, STEP, st.sampled_from(["png", "jpeg"])),
    st.builds(Histogram, INT64, TEXT, FLOATS, FLOATS, STEP),
    st.builds(Artifact, INT64, TEXT, BYTES),
    st.builds(Rejected, INT64, TEXT, TEXT),
    st.builds(Gap, INT64, st.integers(0, 2**63 - 1), TEXT),
)


def bits(value: Any) -> Any:
    """Return ``value`` with floats as their eight bytes, so that NaN equals NaN and 0.0 differs from -0.0."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    return type(value), value


def fields(record: AnyRecord) -> tuple[Any, ...]:
    return type(record), *(bits(getattr(record, name)) for name in record.__struct_fields__)


@given(RECORDS)
def test_every_record_comes_back_bit_by_bit(record: AnyRecord) -> None:
    assert fields(decode(encode(record))) == fields(record)


@given(st.binary() | RECORDS.map(encode).flatmap(lambda p: st.integers(0, len(p)).map(lambda n: p[:n])))
@example(b"\x95\x01\x00\xa1\xff\xcb" + bytes(8) + b"\xc0")  # a key that is no UTF-8
@example(b"\x96\x01\x00\xa1k\xcb" + bytes(8) + b"\xc0" + b"\x91" * 100_000)  # nested without end
@example(b"\xdd\xff\xff\xff\xff\x01")  # an array that claims 2**32 - 1 elements
@example(b"\x95\x01\x00\xdb\xff\xff\xff\xff")  # a str that claims 4 GiB
def test_foreign_bytes_are_a_record_or_a_decode_error(payload: bytes) -> None:
    try:
        record = decode(payload)
    except msgspec.DecodeError:
        return
    if type(record) is Control:
        return  # one of a kind that nobody here can write
    assert fields(decode(encode(record))) == fields(record)


@pytest.mark.parametrize(
    "values",
    [
        [1, 0, "k", True],
        [1, 0, "k", "1.0"],
        [1, 0, "k", None],
        [1, "now", "k", 1.0],
        [1, 0, None, 1.0],
        [1, 0, "k", 1.0, 1.5],
        [31, 0, "k", 1.0],
        ["Metric", 0, "k", 1.0],
        [1, 0],
        {"kind": 1},
    ],
)
def test_ill_typed_fields_are_refused(values: object) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(msgspec.msgpack.encode(values))


def test_a_field_added_by_a_newer_version_is_ignored() -> None:
    assert decode(msgspec.msgpack.encode([1, 7, "k", 1.0, 3, 40, "new"])) == Metric(7, "k", 1.0, 3, 40)


@pytest.mark.parametrize(
    "payload", [[32, 7, 3], [32, 7, None], [32, 7], [33, 7, "x", {}], [127], [32, "?"], [100, b"\0"], [200], [70000, 1]]
)
def test_a_control_record_is_known_as_one_whatever_it_says(payload: list[object]) -> None:
    data = msgspec.msgpack.encode(payload)
    assert is_control(data)
    assert is_control(memoryview(data))
    assert isinstance(decode(data), Control)


def test_a_round_mark_is_read() -> None:
    assert decode(encode(RoundMark(7, 3))) == RoundMark(7, 3)
    assert encode(RoundMark(7, 3)) == b"\x93\x20\x07\x03"


@pytest.mark.parametrize("payload", [b"", b"\x91", b"\x20\x20", b"\x91\x1f", b"\x91\xc3\x80", b"\x81\x20\x01"])
def test_what_is_no_control_record_is_none(payload: bytes) -> None:
    assert not is_control(payload)
    with pytest.raises(msgspec.DecodeError):
        decode(payload)


def test_fields_with_defaults_may_be_missing() -> None:
    assert decode(msgspec.msgpack.encode([5, 7, "k", b"png"])) == Image(7, "k", b"png", None, "png")


def test_numbers_of_kinds_never_change() -> None:
    """They are on disk and on the wire."""
    kinds = [Metric, Param, Tag, Text, Image, Histogram, Artifact, Rejected, Gap]
    assert [kind.__struct_config__.tag for kind in kinds] == list(range(1, 10))


def test_nan_is_a_value_and_not_null() -> None:
    record = decode(encode(Metric(0, "loss", math.nan)))
    assert isinstance(record, Metric)
    assert math.isnan(record.value)


def test_kinds_are_named_as_listings_print_them() -> None:
    assert {name: kind.__name__.lower() for name, kind in KINDS.items()} == {name: name for name in KINDS}
    assert kind_of(Metric(0, "k", 1.0)) == "metric"
