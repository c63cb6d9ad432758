"""Spool: the bytes of a log call on the disk."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import ConfigError
from fedtrack.spool import frames
from fedtrack.spool.segments import is_open, list_streams
from fedtrack.spool.spool import RESERVE_BYTES, Spool
from fedtrack.tracking.records import Histogram, Metric, Param, Rejected
from support.spooled import Put, Read, metric, values


def test_a_stream_is_private_files_in_the_order_of_the_calls(put: Put, tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=200)
    for number in range(50):
        put(spool, metric(number))
    paths = list((tmp_path / "spool").iterdir())
    (page,) = (tmp_path / "spool").glob("*.counts")
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    paths.remove(page)
    assert all(path.stat().st_size <= 200 for path in paths)
    (segments,) = list_streams(tmp_path / "spool").values()
    assert len(segments) == len(paths) > 10
    for segment in segments:
        head = frames.read_header(segment.path.read_bytes())
        assert head is not None
        assert (head.stream, head.first_seq) == (spool.stream, segment.first_seq)
    (records,) = read_spool(tmp_path / "spool").values()
    assert [seq for seq, _ in records] == list(range(1, 51))
    assert values(records) == list(range(50))
    assert {(record.key, record.step) for _, record in records} == {("loss", 7)}
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
    assert len(writes) == 2 + 2  # the page and the header; about 370 kB of frames
    (records,) = read_spool(tmp_path).values()
    assert values(records) == list(range(10_000))


@pytest.mark.parametrize("arguments", [{"durability": "ram"}, {"on_full": "wait"}, {"limit_bytes": RESERVE_BYTES}])
def test_a_wrong_option_is_named(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        Spool(tmp_path, **arguments)


def test_close_releases_and_a_later_append_goes_on(put: Put, tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    put(spool, metric(1))
    (path,) = tmp_path.glob("*.spool")
    assert is_open(path)
    spool.close()
    spool.close()
    assert not is_open(path)
    put(spool, metric(2))
    (records,) = read_spool(tmp_path).values()
    assert [(seq, record.value) for seq, record in records] == [(1, 1), (2, 2)]


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
    assert spool.counts.rejected == 2


def test_other_kinds_are_stored_as_they_are(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    spool.append(Param(1, "lr", 0.1))
    (records,) = read_spool(tmp_path).values()
    assert records == [(1, Param(1, "lr", 0.1))]
