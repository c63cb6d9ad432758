"""Rounds: every record is read with the round in which it was logged, or with none, and never with another one."""

import os
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Metric, RoundMark, decode, encode
from support.spooled import Put, metric

#: In these tests the value of a metric is the round in which it was logged; -1 outside rounds.
OUTSIDE = -1


def said(round: int | None) -> float:
    return float(OUTSIDE if round is None else round)


def read(folder: Path, after: int = 0, **sizes: int) -> list[tuple[int | None, Any]]:
    """Return (round, record) of everything beyond a number, in order, and check that no range has two rounds."""
    found = []
    for stream, segments in list_streams(folder).items():
        for part in SpoolReader(stream, after, pass_bytes=2**62, **sizes).read(segments, ended=True):
            assert isinstance(part, FrameRange)
            records = [decode(payload) for _, payload in frames.split(part.body)]
            assert all(r.round == part.round for r in records if isinstance(r, RoundMark))
            assert len(records) == part.count
            found += [(part.round, record) for record in records]
    return found


def check(folder: Path, **sizes: int) -> int:
    metrics = [(round_, r) for round_, r in read(folder, **sizes) if isinstance(r, Metric)]
    assert [said(round_) for round_, _ in metrics] == [record.value for _, record in metrics]
    return len(metrics)


@pytest.mark.parametrize("seed", range(8))
def test_each_record_has_its_round_whatever_the_sizes(put: Put, tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    spool = Spool(tmp_path, segment_bytes=source.choice((150, 300, 5_000, 4_194_304)))
    logged, round_ = 0, None
    for _ in range(300):
        if source.random() < 0.3:
            round_ = source.choice((None, *range(5)))
            spool.mark_round(round_)
        for _ in range(source.randrange(4)):
            put(spool, metric(said(round_)))
            logged += 1
    assert check(tmp_path) == check(tmp_path, read_bytes=source.choice((1, 60, 500))) == logged == spool.stored


def test_a_reader_that_begins_in_the_middle_knows_the_round(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for round_ in range(5):
        spool.mark_round(round_)
        spool.extend([metric(round_)] * 3)
    whole = read(tmp_path)
    for after in range(len(whole) + 1):
        for sizes in ({}, {"read_bytes": 100}):
            assert read(tmp_path, after, **sizes) == whole[after:]


def test_a_mark_is_written_once_with_the_record_that_follows(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.mark_round(0)
    put(spool, metric(0))  # the header says it
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(len(data)), real(fd, data))[1])
    for round_ in (0, 1, 1, 2, 1, 1):
        spool.mark_round(round_)
    assert writes == []
    spool.append(metric(1))
    spool.mark_round(1)
    spool.append(metric(1))
    assert len(writes) == 2
    kinds = [type(record) for _, record in read(tmp_path)]
    assert kinds == [Metric, RoundMark, Metric, Metric]
    assert (spool.stored, spool._next_seq) == (3, 5)


def test_the_usual_case_is_the_short_one_again_behind_a_mark(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(metric(OUTSIDE))
    spool.mark_round(1)
    assert not spool.append_metric("loss", 1.0, 7)  # the mark is due, which is no usual case
    spool.append(metric(1))
    assert spool.append_metric("loss", 1.0, 7)
    spool.mark_round(1)
    assert spool.append_metric("loss", 1.0, 7)
    assert check(tmp_path) == 4


@pytest.mark.parametrize("bad", [-1, 2**63, 1.0, "1"])
def test_what_is_no_round_is_none(tmp_path: Path, bad: Any) -> None:
    spool = Spool(tmp_path)
    spool.mark_round(3)
    spool.append(metric(3))
    spool.mark_round(bad)
    spool.append(metric(OUTSIDE))
    assert check(tmp_path) == 2


@pytest.fixture
def full_disk() -> Iterator[Callable[[int | None], None]]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("torn", [False, True])
def test_a_mark_that_found_no_room_never_leaves_the_round_before(
    tmp_path: Path, full_disk: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    """At every size at which the disk can be full within the mark and the record behind it."""
    if torn:
        monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    for size in range(120):
        spool = Spool(tmp_path / str(size))
        spool.mark_round(1)
        spool.append(metric(1))
        spool.mark_round(2)
        full_disk(spool._segment_size + size)
        spool.append(metric(2))
        full_disk(None)
        spool.append(metric(2))
        spool.close()
        found = [
            (part.round, record.value)
            for stream, segments in list_streams(spool.folder).items()
            for part in SpoolReader(stream).read(segments, ended=True)
            if isinstance(part, FrameRange)
            for record in (decode(payload) for _, payload in frames.split(part.body))
            if isinstance(record, Metric)
        ]
        assert found[-1] == (2, 2.0)
        assert all(round_ == value for round_, value in found)


def test_behind_damage_the_round_is_unknown_until_it_is_said_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for round_ in range(3):
        spool.mark_round(round_)
        spool.extend([metric(round_)] * 2)
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    whole = path.read_bytes()
    unknown = 0
    for bit in range(0, len(whole) * 8, 5):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        ((stream, segments),) = list_streams(tmp_path).items()
        for part in SpoolReader(stream).read(segments, ended=True):
            if not isinstance(part, FrameRange):
                continue
            for _, payload in frames.split(part.body):
                record = decode(payload)
                if isinstance(record, Metric):
                    assert part.round is None or part.round == record.value, bit
                    unknown += part.round is None
    assert unknown > 0


def test_nested_and_forked_streams_repeat_the_round(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(metric(OUTSIDE))
    spool.mark_round(4)
    spool.append(metric(4))
    spool._writing = True  # as in a signal handler inside another call
    spool.append(metric(4))
    spool._writing = False
    spool.mark_round(5)
    spool._writing = True
    spool.append(metric(5))
    spool._writing = False
    pid = os.fork()
    if pid == 0:
        spool.append(metric(5))
        spool.mark_round(6)
        spool.append(metric(6))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(spool.streams) == 2
    assert len(list_streams(tmp_path)) == 3
    assert check(tmp_path) == 6


def test_a_segment_of_format_1_and_a_mark_of_no_known_shape_have_no_round(tmp_path: Path) -> None:
    stream = "ab" * 16
    salt = frames.salt_of(stream)
    payloads = [encode(metric(OUTSIDE)), encode(RoundMark(1, 3)), encode(metric(3)), b"\x93\x20\x01\xa1x"]
    data = frames.header(bytes.fromhex(stream), 1, 0)
    for seq, payload in enumerate([*payloads, encode(metric(OUTSIDE))], start=1):
        data += frames.frame(seq, payload, salt)
    (tmp_path / f"{stream}-{1:016x}.spool").write_bytes(data)
    assert check(tmp_path) == 3
