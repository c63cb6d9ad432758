"""Forwarder: records go from the spools to the journal despite all failures, and none is deleted before it is there."""

import os
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import DamagedError, WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Artifact, BlobRef, Metric, Text
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import Site, forward, raiser, stored


def test_what_has_arrived_is_deleted_and_the_live_segment_is_kept(site: Site, journal: Journal) -> None:
    site.log(*range(100))
    assert len(site.segments()) > 3
    assert forward(site.source)
    assert not forward(site.source)
    assert stored(journal) == list(range(100))
    assert len(site.segments()) == 1
    site.spool.close()
    site.source.ended = True
    forward(site.source)
    assert site.segments() == []


def test_without_delete_everything_stays_for_the_other_reader(tmp_path: Path, site: Site, journal: Journal) -> None:
    site.log(*range(100))
    site.spool.close()
    before = site.segments()
    source = SpoolSource("a", site.folder, journal, BlobStore(tmp_path / "b"), delete=False)
    source.ended = True
    forward(source)
    assert stored(journal) == list(range(100))
    assert site.segments() == before


def test_a_restarted_server_goes_on_from_the_journals_mark(tmp_path: Path, site: Site, journal: Journal) -> None:
    site.log(*range(50))
    forward(site.source)
    site.log(*range(50, 100))
    again = SpoolSource("a", site.folder, journal, BlobStore(tmp_path / "b"))
    forward(again)
    assert stored(journal) == list(range(100))


def test_a_server_killed_between_commit_and_delete_stores_nothing_twice(
    site: Site, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log(*range(100))

    def killed(self: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            forward(site.source)
    assert stored(journal) == list(range(100))
    assert len(site.segments()) > 3
    for source in (site.source, SpoolSource("a", site.folder, journal, BlobStore(tmp_path / "b"))):
        forward(source)
    assert stored(journal) == list(range(100))
    assert len(site.segments()) == 1


def test_nothing_is_deleted_before_it_is_committed(
    site: Site, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log(*range(100))
    before = site.segments()
    with monkeypatch.context() as patch:
        patch.setattr(journal, "apply_all", raiser(WorkspaceError("the disk is full")))
        with pytest.raises(WorkspaceError):
            forward(site.source)
    assert site.segments() == before
    forward(site.source)
    assert stored(journal) == list(range(100))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["adopt", "apply_all", "record_gap", "scan"])
def test_an_error_at_any_point_skips_nothing(
    site: Site, journal: Journal, monkeypatch: pytest.MonkeyPatch, error: BaseException, where: str
) -> None:
    big = Text(1, "t", site.spool.blobs.put(b"x" * 50_000))
    site.log(1)
    site.spool.append(big)
    site.log(*range(2, 60))
    damaged = site.segments()[1]
    data = bytearray(damaged.read_bytes())
    data[frames.LINKED_HEADER_SIZE + 8] ^= 1
    damaged.write_bytes(data)
    real, calls = frames.scan, []

    def scan_fails_later(*args: Any, **kwargs: Any) -> frames.Scan:
        calls.append(1)
        if len(calls) == 3:
            raise error
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        match where:
            case "adopt":
                patch.setattr(BlobStore, "adopt", raiser(error))
            case "scan":
                patch.setattr(frames, "scan", scan_fails_later)
            case _:
                patch.setattr(journal, where, raiser(error))
        with pytest.raises(type(error)):
            forward(site.source)
    forward(site.source)
    found = stored(journal)
    assert len(found) == 59
    assert big in found
    assert len(journal.gaps()) == 1


def test_one_stream_that_cannot_be_read_does_not_keep_the_others(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "VERSION", 3)
    newer = Spool(site.folder)
    newer.append(Metric(1, "loss", 1.0))
    newer.close()
    monkeypatch.undo()
    others = [Spool(site.folder) for _ in range(8)]
    for other in others:
        other.append(Metric(1, "loss", 2.0))
    with pytest.raises(DamagedError, match="format 3"):
        forward(site.source)
    assert stored(journal) == [2.0] * 8


def test_damage_is_recorded_and_what_follows_arrives(site: Site, journal: Journal) -> None:
    site.log(*range(10))
    (path,) = site.segments()
    data = bytearray(path.read_bytes())
    data[150] ^= 1
    path.write_bytes(data)
    forward(site.source)
    assert len(stored(journal)) == 9
    (gap,) = journal.gaps()
    assert (gap.site, gap.stream, gap.kind) == ("a", site.spool.stream, "damaged")
    assert f"{gap.size} damaged bytes" in gap.reason


def test_the_torn_end_of_a_killed_process_is_no_gap(site: Site, journal: Journal) -> None:
    site.log(*range(10))
    os.close(site.spool._fd)  # as SIGKILL does: nothing says where the stream ends
    (path,) = site.segments()
    path.write_bytes(path.read_bytes()[:-3])
    site.source.ended = True
    forward(site.source)
    assert stored(journal) == list(range(9))
    assert journal.gaps() == []
    assert site.segments() == []


def test_blobs_are_adopted_before_their_record_is_stored(tmp_path: Path, site: Site, journal: Journal) -> None:
    ref = site.spool.blobs.put(b"weights" * 10_000)
    site.spool.append(Artifact(1, "model.bin", ref))
    site.spool.append(Text(1, "t", "short"))
    forward(site.source)
    assert BlobStore(tmp_path / "server-blobs").read(ref) == b"weights" * 10_000
    assert stored(journal) == [Artifact(1, "model.bin", ref), Text(1, "t", "short")]


@pytest.mark.parametrize("digest", ["", "0" * 64, "../../journal.db", "x" * 5000, "a\0b", "A" * 64])
def test_a_blob_that_is_missing_or_no_blob_stops_nothing(
    tmp_path: Path, site: Site, journal: Journal, digest: str
) -> None:
    site.spool.append(Artifact(1, "model.bin", BlobRef(digest, 10)))
    site.log(1)
    forward(site.source)
    assert len(stored(journal)) == 2
    assert not (tmp_path / "server-blobs").exists()


@pytest.mark.parametrize("poisoned", [False, True])
def test_what_only_another_site_has_sent_is_not_used_and_counted(
    tmp_path: Path, site: Site, journal: Journal, poisoned: bool
) -> None:
    data = b"of site b" * 10_000
    other = Site(tmp_path, journal, "b")
    ref = other.spool.blobs.put(data)
    other.spool.append(Artifact(1, "model.bin", ref))
    forward(other.source)
    if poisoned:
        site.spool.blobs.folder.mkdir()
        (site.spool.blobs.folder / ref.sha256).write_bytes(b"P" * len(data))
    site.log(1)
    site.spool.append(Artifact(1, "model.bin", ref))
    site.log(2)
    forward(site.source)
    site.spool.append(Artifact(1, "again.bin", ref))
    forward(site.source)
    assert stored(journal) == [1.0, 2.0]
    assert stored(journal, "b") == [Artifact(1, "model.bin", ref)]
    assert [(gap.site, gap.kind, gap.count, gap.first) for gap in journal.gaps()] == [
        ("a", "refused", 1, 2),
        ("a", "refused", 1, 4),
    ]
    assert journal.high_water("a", site.spool.stream) == 4
    assert BlobStore(tmp_path / "server-blobs").read(ref) == data


@pytest.mark.parametrize("payload", [b"", b"\x93", b"\x93\x04", b"\x93\x1f\x01\x02", b"\x00\x04"])
def test_a_payload_that_is_no_record_stops_nothing(site: Site, journal: Journal, payload: bytes) -> None:
    stream = "cd" * 16
    head = frames.header(bytes.fromhex(stream), 1, 0)
    (site.folder / f"{stream}-{1:016x}.spool").write_bytes(
        head + frames.frame(1, payload, frames.salt_of(stream)) + frames.frame(2, payload, frames.salt_of(stream))
    )
    forward(site.source)
    assert journal.counts() == {"a": 2}
