"""SiteValues: the last value of each metric, whatever bytes a site's names and times are encoded in."""

from __future__ import annotations

import msgspec
import pytest

from fedtrack.journal.batches import StoredBatch
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, Param, Record, encode
from fedtrack.view.site_values import Value, take_metrics


def batch(*payloads: bytes) -> StoredBatch:
    body = b"".join(frames.frame(seq, payload, 0) for seq, payload in enumerate(payloads, start=1))
    return StoredBatch(1, "a", "0" * 32, len(payloads), body, 0)


def taken(mode: str, *payloads: bytes) -> dict[str, tuple[float, int]]:
    values: dict[str, Value] = {}
    take_metrics(batch(*payloads), values, mode)
    return {key: (value.of(mode), value.count) for key, value in values.items()}


@pytest.mark.parametrize("mode", ["last", "mean"])
@pytest.mark.parametrize("key", ["loss", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "ü" * 300, "a/b"])
@pytest.mark.parametrize("time_ns", [0, 127, 70_000, 2**40, 10**18])
def test_every_name_and_time_is_one_metric(mode: str, key: str, time_ns: int) -> None:
    records: list[Record] = [Metric(time_ns, key, float(n), n) for n in (1, 5, 3)]
    records.insert(1, Param(time_ns, key, 9.0))
    assert taken(mode, *map(encode, records)) == {key: (3.0, 3)}


def test_names_that_begin_alike_are_kept_apart() -> None:
    records = [Metric(10**18, key, float(n), 0) for n, key in enumerate(("loss", "loss2", "l"))]
    assert {key: value for key, (value, _) in taken("last", *map(encode, records)).items()} == {
        "loss": 0.0,
        "loss2": 1.0,
        "l": 2.0,
    }


@pytest.mark.parametrize("mode", ["last", "mean"])
@pytest.mark.parametrize(
    "payload",
    [b"\x95\x01", msgspec.msgpack.encode([1, 5, "loss", "high", 0]), b"\x95\x01\xcf" + bytes(8) + b"\xd9\xff"],
)
def test_a_record_that_is_none_is_passed_over(mode: str, payload: bytes) -> None:
    good = encode(Metric(10**18, "acc", 1.0, 0))
    assert taken(mode, payload, good) == {"acc": (1.0, 1)}
