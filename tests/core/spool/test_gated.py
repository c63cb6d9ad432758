"""A spool with a gate: what a policy keeps never reaches the disk, by any call of a writer, and is counted."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.policy.gate import Gate
from fedtrack.policy.policy import Policy, Rule
from fedtrack.spool.shared import SharedSpool
from fedtrack.spool.spool import Spool
from fedtrack.tracking.media_writer import MediaWriter
from fedtrack.tracking.records import Metric, Rejected
from support.spooled import Read

CANARY = "4711081500992233"
TWENTY = Policy(
    allow=[
        *(Rule(f"other{number}/*") for number in range(18)),
        Rule("few", min_n=50),
        Rule("loss", every="round", clip=(0, 10), sig=3),
    ]
)


class Hostile:
    """Raises the canary wherever it is asked for anything."""

    def __float__(self) -> float:
        raise ValueError(CANARY)

    def __str__(self) -> str:
        raise ValueError(CANARY)

    __repr__ = __str__


CALLS: dict[str, Callable[[MediaWriter], Any]] = {
    "metric": lambda w: w.record_metric("age", float(CANARY)),
    "metric of a denied key": lambda w: w.record_metric(CANARY, 1.0),
    "metrics": lambda w: w.record_metrics({"age": float(CANARY), CANARY: 2.0}),
    "metric with time": lambda w: w.record_metric("age", float(CANARY), time=5),
    "text as metric": lambda w: w.record_metric("loss", f"no {CANARY}"),
    "object as metric": lambda w: w.record_metric("loss", Hostile()),
    "no mapping": lambda w: w.record_metrics(CANARY),  # type: ignore[arg-type]
    "wrong step": lambda w: w.record_metric("loss", 1.0, step=CANARY),  # type: ignore[arg-type]
    "wrong key": lambda w: w.record_metric((CANARY,), 1.0),  # type: ignore[arg-type]
    "param": lambda w: w.record_param("patient", CANARY),
    "long param": lambda w: w.record_param("patient", CANARY * 5_000),
    "tag": lambda w: w.record_tag("patient", CANARY),
    "text": lambda w: w.record_text("note", CANARY),
    "long text": lambda w: w.record_text("note", CANARY * 10_000),
    "image": lambda w: w.record_image("scan", CANARY.encode() * 10_000),
    "histogram": lambda w: w.record_histogram(CANARY, [0, 1], [float(CANARY)]),
    "artifact": lambda w: w.record_artifact("list.csv", CANARY.encode() * 10_000),
    "table": lambda w: w.record_table(CANARY, {"id": [CANARY]}, "table.json"),
    "file": lambda w: w.record_file(CANARY),
    "video": lambda w: w.record_video("film", CANARY),
    "rejected": lambda w: w.record_rejected(CANARY, ValueError(CANARY)),
    "ignored": lambda w: w.record_ignored(f"call({CANARY})", CANARY),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("shared", [False, True], ids=["own spool", "shared spool"])
def test_no_part_of_what_is_denied_reaches_the_disk_or_a_log(
    call: Callable[[MediaWriter], Any], shared: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool: Spool
    if shared:
        spool = SharedSpool(tmp_path / "spool", gates=lambda site: Gate([TWENTY]))
        spool.enter("site-1", 0)
    else:
        spool = Spool(tmp_path / "spool", gate=Gate([TWENTY]))
    with caplog.at_level(logging.DEBUG):
        call(MediaWriter(spool))
    spool.close()
    assert spool.counts.withheld + spool.counts.rejected >= 1
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert CANARY.encode() not in content
    assert float(CANARY).hex().encode() not in content
    assert CANARY not in caplog.text
    assert not list(tmp_path.glob("spool/blobs/*"))


def test_metrics_pass_and_are_counted_whatever_way_they_come(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, gate=Gate([TWENTY]))
    writer = MediaWriter(spool)
    spool.mark_round(0)
    writer.record_metric("loss", 0.123456, 1)  # released
    writer.record_metric("loss", 0.2, 2)
    writer.record_metrics({"loss": 0.3, "other3/x": 2.5}, 3)  # one of two
    spool.mark_round(1)
    writer.record_metrics({"loss": 99, "age": 3}, 4)  # one of two
    writer.record_metric("other3/x", 7, 5)
    writer.record_metric("few", 1.0, 6, n=50)
    writer.record_metric("few", 2.0, 7, n=49)
    writer.record_metric("few", 3.0, 8)
    spool.close()
    (records,) = read_spool(tmp_path).values()
    found = [(r.key, r.value, r.step, r.n) for _, r in records if isinstance(r, Metric)]
    assert found == [
        ("loss", 0.123, 1, None),
        ("other3/x", 2.5, 3, None),
        ("loss", 10.0, 4, None),
        ("other3/x", 7.0, 5, None),
        ("few", 1.0, 6, 50),
    ]
    assert (spool.stored, spool.counts.withheld) == (5, 5)


def test_a_call_is_judged_once_also_where_the_segment_is_full(tmp_path: Path, read_spool: Read) -> None:
    """A new segment is the slow way, and must not ask the gate a second time."""
    spool = Spool(tmp_path, segment_bytes=200, gate=Gate([Policy(allow=[Rule("loss", every=2)])]))
    writer = MediaWriter(spool)
    for number in range(100):
        writer.record_metric("loss", float(number))
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert [r.value for _, r in records if isinstance(r, Metric)] == [float(n) for n in range(0, 100, 2)]
    assert (spool.stored, spool.counts.withheld) == (50, 50)


def test_a_forked_child_does_not_begin_the_round_again(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, gate=Gate([TWENTY]))
    spool.mark_round(0)
    MediaWriter(spool).record_metric("loss", 1.0)
    child = os.fork()
    if not child:
        MediaWriter(spool).record_metric("loss", 2.0)
        os._exit(0)
    os.waitpid(child, 0)
    found = [r.value for records in read_spool(tmp_path).values() for _, r in records if isinstance(r, Metric)]
    assert found == [1.0]


def test_sites_that_share_a_spool_have_gates_and_counts_of_their_own(tmp_path: Path) -> None:
    spool = SharedSpool(tmp_path, gates=lambda site: Gate([TWENTY]) if site == "site-1" else None)
    writer = MediaWriter(spool)
    for site in ("site-1", "site-2"):
        spool.enter(site, 0)
        writer.record_metric("loss", 1.5)
        writer.record_metric("loss", 2.5)
        writer.record_metric("age", 3.5)
    spool.close()
    assert spool.take_counts() == {"site-1": 1, "site-2": 3}
    assert (spool.stored, spool.counts.withheld) == (4, 2)


def test_a_rejection_is_stored_as_its_type(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, gate=Gate([TWENTY]))
    MediaWriter(spool).record_metric("loss", CANARY + "x")
    spool.close()
    ((_, record),) = next(iter(read_spool(tmp_path).values()))
    assert isinstance(record, Rejected)
    assert (record.key, record.reason) == ("loss", "Refused")
    assert spool.counts.rejected == 1
