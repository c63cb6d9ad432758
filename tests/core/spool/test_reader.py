"""SpoolReader: the records of files that grow, rotate, are torn or damaged, in pieces of any size."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from fedtrack.spool import frames, reader, segments
from fedtrack.spool.counter_page import page_path, read_extent
from fedtrack.spool.frames import FrameRange
from fedtrack.spool.reader import DamagedBytes, SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Metric, Text, decode, encode


def payload(seq: int) -> bytes:
    return encode(Metric(seq, "loss", 0.5))


class Follower:
    """Reads a stream pass after pass and keeps what it found."""

    def __init__(self, folder: Path, stream: str, **sizes: int) -> None:
        self.folder = folder
        self.reader = SpoolReader(stream, **sizes)
        self.records: list[tuple[int, Any]] = []
        self.damage: list[DamagedBytes] = []

    def read(self, *, ended: bool = False, delete: bool = False) -> int:
        found = list_streams(self.folder).get(self.reader.stream, [])
        before = len(self.records)
        for part in self.reader.read(found, ended=ended):
            if isinstance(part, FrameRange):
                self.records += [(seq, decode(data)) for seq, data in frames.split(part.body)]
            else:
                self.damage.append(part)
        for path in self.reader.deletable(found, ended=ended) if delete else ():
            path.unlink()
        return len(self.records) - before


@pytest.mark.parametrize("seed", range(12))
def test_random_sizes_lose_nothing_and_keep_the_order(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    spool = Spool(tmp_path, segment_bytes=source.choice((100, 300, 5_000, 100_000, 4_194_304)))
    follower = Follower(
        tmp_path,
        spool.stream,
        read_bytes=source.choice((1, 60, 500, 70_000, 1_048_576)),
        pass_bytes=source.choice((1, 1_000, 1_000_000)),
    )
    written = []
    for step in range(150):
        for _ in range(source.randrange(8)):
            written.append(Text(len(written), "t", "x" * source.choice((0, 10, 200, 3_000)), step))
            spool.append(written[-1])
        follower.read(delete=source.random() < 0.5)
    spool.close()
    for _ in range(20_000):
        if not follower.read(ended=True, delete=True):
            break
    assert [record for _, record in follower.records] == written
    assert not follower.damage
    follower.read(ended=True, delete=True)
    assert list(tmp_path.glob("*.spool")) == []


def test_a_frame_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    stream = "ab" * 16
    salt = frames.salt_of(stream)
    path = tmp_path / f"{stream}-{1:016x}.spool"
    whole = frames.header(bytes.fromhex(stream), 1, 0)
    for seq in (1, 2, 3):
        whole += frames.frame(seq, payload(seq), salt)
    follower = Follower(tmp_path, stream, read_bytes=60)
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        follower.read()
        assert not follower.damage
    assert [seq for seq, _ in follower.records] == [1, 2, 3]


def write_segment(folder: Path, seqs: range, stream: str = "ab" * 16) -> Path:
    path = folder / f"{stream}-{seqs[0]:016x}.spool"
    data = frames.header(bytes.fromhex(stream), seqs[0], 0)
    for seq in seqs:
        data += frames.frame(seq, payload(seq), frames.salt_of(stream))
    path.write_bytes(data)
    return path


def test_damage_in_a_live_file_is_reported_once_and_what_follows_is_read(tmp_path: Path) -> None:
    path = write_segment(tmp_path, range(1, 11))
    data = bytearray(path.read_bytes())
    data[frames.HEADER_SIZE + 35 + 20] ^= 1
    path.write_bytes(data)
    follower = Follower(tmp_path, "ab" * 16)
    follower.read()
    follower.read()
    assert [seq for seq, _ in follower.records] == [1, 3, 4, 5, 6, 7, 8, 9, 10]
    (damage,) = follower.damage
    assert (damage.start, damage.torn) == (frames.HEADER_SIZE + frames.FRAME_SIZE + len(payload(1)), False)


@pytest.mark.parametrize(("cut", "flip", "torn"), [(5, None, True), (0, -3, False), (0, -30, False)])
def test_the_end_of_a_dead_stream_is_torn_only_if_it_is_incomplete(
    tmp_path: Path, cut: int, flip: int | None, torn: bool
) -> None:
    path = write_segment(tmp_path, range(1, 4))
    data = bytearray(path.read_bytes())
    if flip is not None:
        data[flip] ^= 1  # a record whose log call had returned
    path.write_bytes(data[: len(data) - cut])
    follower = Follower(tmp_path, "ab" * 16)
    follower.read()
    assert not follower.damage
    follower.read(ended=True)
    assert [damage.torn for damage in follower.damage] == [torn]
    assert [seq for seq, _ in follower.records] == [1, 2]


def test_damage_at_the_end_of_a_segment_that_has_a_successor_is_not_torn(tmp_path: Path) -> None:
    path = write_segment(tmp_path, range(1, 4))
    write_segment(tmp_path, range(4, 6))
    path.write_bytes(path.read_bytes()[:-5])
    follower = Follower(tmp_path, "ab" * 16)
    follower.read()
    assert [damage.torn for damage in follower.damage] == [False]
    assert [seq for seq, _ in follower.records] == [1, 2, 4, 5]


@pytest.mark.parametrize("end", [0, 1, 51, 52])
def test_a_segment_without_records_is_damage_and_costs_no_other_record(tmp_path: Path, end: int) -> None:
    path = write_segment(tmp_path, range(1, 3))
    path.write_bytes(path.read_bytes()[:end])
    write_segment(tmp_path, range(5, 7))
    follower = Follower(tmp_path, "ab" * 16)
    assert follower.read() == 2
    assert [(one.start, one.size, one.first, one.last) for one in follower.damage] == [(0, end, 1, 4)]


def test_a_damaged_header_costs_nothing(tmp_path: Path) -> None:
    path = write_segment(tmp_path, range(1, 6))
    data = bytearray(path.read_bytes())
    data[20] ^= 255
    path.write_bytes(data)
    follower = Follower(tmp_path, "ab" * 16)
    assert follower.read(ended=True) == 5


def test_after_a_restart_known_segments_are_not_read_again(tmp_path: Path) -> None:
    for start in (1, 11, 21):
        write_segment(tmp_path, range(start, start + 10))
    follower = Follower(tmp_path, "ab" * 16, after_seq=15)
    follower.read()
    assert [seq for seq, _ in follower.records] == list(range(16, 31))


def test_only_known_segments_are_deletable_and_never_the_one_that_may_grow(tmp_path: Path) -> None:
    for start in (1, 11, 21):
        write_segment(tmp_path, range(start, start + 10))
    found = list_streams(tmp_path)["ab" * 16]
    reader = SpoolReader("ab" * 16)
    assert reader.deletable(found, ended=True) == []
    parts = reader.read(found, ended=False)
    next(parts)
    assert reader.deletable(found, ended=False) == []
    list(parts)
    assert reader.deletable(found, ended=False) == [segment.path for segment in found[:2]]
    assert reader.deletable(found, ended=True) == [segment.path for segment in found]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a test runner may have threads
def test_a_process_that_is_said_to_be_gone_but_still_writes_loses_nothing(tmp_path: Path) -> None:
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)  # never left behind
        spool = Spool(tmp_path)
        spool.append(Metric(1, "loss", 1.0))
        os.write(ready[1], b"1")
        os.read(go[0], 1)
        spool.append(Metric(2, "loss", 2.0))
        os.write(ready[1], b"2")
        signal.pause()
    try:
        os.read(ready[0], 1)
        (stream,) = list_streams(tmp_path)
        follower = Follower(tmp_path, stream)
        assert follower.read(ended=True, delete=True) == 1
        os.write(go[1], b"1")
        os.read(ready[0], 1)
        assert follower.read(ended=True, delete=True) == 1
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for descriptor in (*ready, *go):
            os.close(descriptor)
    follower.read(ended=True, delete=True)
    assert list(tmp_path.glob("*.spool")) == []


def test_a_listing_never_shows_a_segment_without_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing runs while segments are created: it may show the newest and miss one that is older."""
    for start in (1, 11, 21):
        write_segment(tmp_path, range(start, start + 10))
    real, listings = segments._list_once, []

    def racing(folder: Path) -> Any:
        listings.append(real(folder))
        if len(listings) == 1:
            del listings[0].segments["ab" * 16][1]
        else:
            write_segment(folder, range(41, 45))  # created after the second listing had passed 31
            listings[-1] = real(folder)
        return listings[-1]

    monkeypatch.setattr(segments, "_list_once", racing)
    (found,) = list_streams(tmp_path).values()
    assert [segment.first_seq for segment in found] == [1, 11, 21]


def test_a_stream_that_never_ends_does_not_keep_others_waiting(tmp_path: Path) -> None:
    for start in range(1, 1_001, 100):
        write_segment(tmp_path, range(start, start + 100))
    follower = Follower(tmp_path, "ab" * 16, read_bytes=500, pass_bytes=2_000)
    assert 0 < follower.read() < 300
    while follower.read():
        pass
    assert [seq for seq, _ in follower.records] == list(range(1, 1_001))


def test_of_a_header_alone_nothing_is_lost(tmp_path: Path) -> None:
    """As where a log call is interrupted while it begins a segment, and the next one begins it again."""
    spool = Spool(tmp_path)
    spool.append(Metric(1, "loss", 1.0))
    path = next(tmp_path.glob("*.spool"))
    whole = path.read_bytes()
    reader = SpoolReader(spool.stream)
    path.write_bytes(whole[: frames.HEADER_SIZE])
    assert list(reader.read(list_streams(tmp_path)[spool.stream], ended=False)) == []
    path.write_bytes(b"")
    assert list(reader.read(list_streams(tmp_path)[spool.stream], ended=False)) == []
    path.write_bytes(whole)
    (found,) = reader.read(list_streams(tmp_path)[spool.stream], ended=False)
    assert isinstance(found, FrameRange)


def test_a_segment_that_was_begun_behind_the_listing_is_not_gone(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=100)
    spool.append(Metric(1, "loss", 1.0))
    listed = list_streams(tmp_path)[spool.stream]
    spool.append(Metric(2, "loss", 2.0))
    spool.close()
    reader = SpoolReader(spool.stream)
    extent = read_extent(page_path(tmp_path, spool.stream))
    assert extent is not None
    assert extent.first > listed[-1].first_seq
    parts = list(reader.read(listed, ended=True, extent=extent))
    parts += reader.read(list_streams(tmp_path)[spool.stream], ended=True, extent=extent)
    assert [(type(part), part.last) for part in parts] == [(FrameRange, 1), (FrameRange, 2)]


HOSTILE = "ab" * 16


def plant(folder: Path, kind: str) -> Path:
    """Put something that no spool writes in the place of a segment."""
    path = folder / segments.segment_name(HOSTILE, 1)
    whole = frames.header(bytes.fromhex(HOSTILE), 1, 0) + frames.frame(1, payload(1), frames.salt_of(HOSTILE))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (path / "file").write_bytes(b"x")
    elif kind == "dangling":
        path.symlink_to("none")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link":
        (folder / "of another").write_bytes(whole)
        path.symlink_to("of another")
    else:
        path.write_bytes(whole)
        os.truncate(path, 40 * 2**30)
    return path


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling", "device", "link", "sparse"])
@pytest.mark.parametrize("ended", [False, True])
def test_what_is_no_segment_is_named_once_and_waited_for_by_nobody(
    tmp_path: Path, kind: str, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_SEGMENT", 8 * 2**20)
    path = plant(tmp_path, kind)
    follower = Follower(tmp_path, HOSTILE)
    for _ in range(4):
        follower.read(ended=ended)
    said = [damage.reason for damage in follower.damage]
    assert len(said) == len(set(said)) <= 4
    assert len(follower.records) == (kind == "sparse")
    assert ("42,949,672,960 bytes" if kind == "sparse" else f"{path.name} is a ") in said[-1]
    found = list_streams(tmp_path)[HOSTILE]
    if ended:
        assert follower.reader.at_end(found)
        (deleted,) = follower.reader.deletable(found, ended=True)
        segments.remove(deleted, damaged=deleted in follower.reader.damaged)
        assert list_streams(tmp_path) == {}


def test_the_memory_of_a_search_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = plant(tmp_path, "sparse")
    os.truncate(path, reader.MAX_SEGMENT)
    sizes: list[int] = []
    follower = Follower(tmp_path, HOSTILE)
    scan = frames.scan

    def noted(data: bytes, *args: Any, **options: Any) -> frames.Scan:
        sizes.append(len(data))
        return scan(data, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "scan", noted)
        for _ in range(20):
            follower.read()
    assert max(sizes) <= 8 * 2**20
    assert sum(damage.size for damage in follower.damage) > reader.MAX_SEGMENT - 4 * 2**20


def test_evidence_is_not_moved_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / segments.DAMAGED_FOLDER).symlink_to(tmp_path / "elsewhere")
    path = plant(folder, "link")
    segments.remove(path, damaged=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not path.is_symlink()
