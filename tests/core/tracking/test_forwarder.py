"""Forwarder: from the spools into the journal, whatever fails on the way, and nothing deleted before it arrived."""

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import DamagedError, WorkspaceError
from fedtrack.tracking import forward_pass, frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.forwarder import Forwarder, SpoolSource
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.records import Artifact, BlobRef, Metric, Text, decode
from fedtrack.tracking.segments import Listing, list_streams
from fedtrack.tracking.spool import Spool


class Site:
    """A site's spool and the way from it to the journal."""

    def __init__(self, root: Path, journal: Journal, name: str = "a") -> None:
        self.name = name
        self.folder = root / name
        self.spool = Spool(self.folder, segment_bytes=1_000)
        self.source = SpoolSource(name, self.folder, journal, BlobStore(root / "server-blobs"))

    def log(self, *values: float) -> None:
        for value in values:
            self.spool.append(Metric(1, "loss", float(value)))

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.spool"))


def stored(journal: Journal, site: str = "a") -> list[Any]:
    records = []
    for batch in journal.read(0, limit_bytes=2**40):
        if batch.site == site:
            records += [decode(payload) for _, payload in frames.split(batch.body)]
    return [record.value if isinstance(record, Metric) else record for record in records]


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture
def site(tmp_path: Path, journal: Journal) -> Site:
    return Site(tmp_path, journal)


def test_what_has_arrived_is_deleted_and_the_live_segment_is_kept(site: Site, journal: Journal) -> None:
    site.log(*range(100))
    assert len(site.segments()) > 3
    assert site.source.forward()
    assert not site.source.forward()
    assert stored(journal) == list(range(100))
    assert len(site.segments()) == 1
    site.spool.close()
    site.source.ended = True
    site.source.forward()
    assert site.segments() == []


def test_without_delete_everything_stays_for_the_other_reader(tmp_path: Path, site: Site, journal: Journal) -> None:
    site.log(*range(100))
    site.spool.close()
    before = site.segments()
    source = SpoolSource("a", site.folder, journal, BlobStore(tmp_path / "b"), delete=False)
    source.ended = True
    source.forward()
    assert stored(journal) == list(range(100))
    assert site.segments() == before


def test_a_restarted_server_goes_on_from_the_journals_mark(tmp_path: Path, site: Site, journal: Journal) -> None:
    site.log(*range(50))
    site.source.forward()
    site.log(*range(50, 100))
    again = SpoolSource("a", site.folder, journal, BlobStore(tmp_path / "b"))
    again.forward()
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
            site.source.forward()
    assert stored(journal) == list(range(100))
    assert len(site.segments()) > 3
    for source in (site.source, SpoolSource("a", site.folder, journal, BlobStore(tmp_path / "b"))):
        source.forward()
    assert stored(journal) == list(range(100))
    assert len(site.segments()) == 1


def test_nothing_is_deleted_before_it_is_committed(
    site: Site, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log(*range(100))
    before = site.segments()
    with monkeypatch.context() as patch:
        patch.setattr(journal, "apply_all", _raiser(WorkspaceError("the disk is full")))
        with pytest.raises(WorkspaceError):
            site.source.forward()
    assert site.segments() == before
    site.source.forward()
    assert stored(journal) == list(range(100))


def _raiser(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


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
    data[60] ^= 1
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
                patch.setattr(BlobStore, "adopt", _raiser(error))
            case "scan":
                patch.setattr(frames, "scan", scan_fails_later)
            case _:
                patch.setattr(journal, where, _raiser(error))
        with pytest.raises(type(error)):
            site.source.forward()
    site.source.forward()
    found = stored(journal)
    assert len(found) == 59
    assert big in found
    assert len(journal.gaps()) == 1


def test_one_stream_that_cannot_be_read_does_not_keep_the_others(
    site: Site, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "VERSION", 2)
    newer = Spool(site.folder)
    newer.append(Metric(1, "loss", 1.0))
    newer.close()
    monkeypatch.undo()
    others = [Spool(site.folder) for _ in range(8)]
    for other in others:
        other.append(Metric(1, "loss", 2.0))
    with pytest.raises(DamagedError, match="format 2"):
        site.source.forward()
    assert stored(journal) == [2.0] * 8


def test_damage_is_recorded_and_what_follows_arrives(site: Site, journal: Journal) -> None:
    site.log(*range(10))
    (path,) = site.segments()
    data = bytearray(path.read_bytes())
    data[150] ^= 1
    path.write_bytes(data)
    site.source.forward()
    assert len(stored(journal)) == 9
    ((where, stream, size, reason),) = journal.gaps()
    assert (where, stream) == ("a", site.spool.stream)
    assert f"{size} damaged bytes" in reason


def test_the_torn_end_of_a_killed_process_is_no_gap(site: Site, journal: Journal) -> None:
    site.log(*range(10))
    site.spool.close()
    (path,) = site.segments()
    path.write_bytes(path.read_bytes()[:-3])
    site.source.ended = True
    site.source.forward()
    assert stored(journal) == list(range(9))
    assert journal.gaps() == []
    assert site.segments() == []


def test_blobs_are_adopted_before_their_record_is_stored(tmp_path: Path, site: Site, journal: Journal) -> None:
    ref = site.spool.blobs.put(b"weights" * 10_000)
    site.spool.append(Artifact(1, "model.bin", ref))
    site.spool.append(Text(1, "t", "short"))
    site.source.forward()
    assert BlobStore(tmp_path / "server-blobs").read(ref) == b"weights" * 10_000
    assert stored(journal) == [Artifact(1, "model.bin", ref), Text(1, "t", "short")]


@pytest.mark.parametrize("digest", ["", "0" * 64, "../../journal.db", "x" * 5000, "a\0b", "A" * 64])
def test_a_blob_that_is_missing_or_no_blob_stops_nothing(
    tmp_path: Path, site: Site, journal: Journal, digest: str
) -> None:
    site.spool.append(Artifact(1, "model.bin", BlobRef(digest, 10)))
    site.log(1)
    site.source.forward()
    assert len(stored(journal)) == 2
    assert not (tmp_path / "server-blobs").exists()


@pytest.mark.parametrize("payload", [b"", b"\x93", b"\x93\x04", b"\x93\x63\x01\x02", b"\x00\x04"])
def test_a_payload_that_is_no_record_stops_nothing(site: Site, journal: Journal, payload: bytes) -> None:
    stream = "cd" * 16
    head = frames.header(bytes.fromhex(stream), 1, 0)
    (site.folder / f"{stream}-{1:016x}.spool").write_bytes(
        head + frames.frame(1, payload, frames.salt_of(stream)) + frames.frame(2, payload, frames.salt_of(stream))
    )
    site.source.forward()
    assert journal.counts() == {"a": 2}


# The thread.


def test_sites_are_forwarded_while_they_log(tmp_path: Path, journal: Journal) -> None:
    sites = [Site(tmp_path, journal, name) for name in ("a", "b", "c")]
    forwarder = Forwarder(poll_seconds=0.005)
    for site in sites:
        forwarder.add(site.source)
    forwarder.start()
    threads = [threading.Thread(target=site.log, args=range(500)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for site in sites:
        site.spool.close()
        forwarder.end(site.name)
    forwarder.stop()
    for site in sites:
        assert stored(journal, site.name) == list(range(500))
        assert site.segments() == []
    assert forwarder.errors == {}


def test_a_site_that_fails_delays_no_other_and_is_said_once(
    tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = Site(tmp_path, journal, "a"), Site(tmp_path, journal, "b")
    bad.log(1)
    real = bad.source.read
    monkeypatch.setattr(bad.source, "read", _raiser(ValueError("a fault of ours")))
    forwarder = Forwarder(poll_seconds=0.001)
    forwarder.add(bad.source)
    forwarder.add(good.source)
    forwarder.start()
    until(lambda: bool(forwarder.errors))
    good.log(*range(100))
    until(lambda: len(stored(journal, "b")) == 100)
    assert forwarder.errors == {"a": "a fault of ours"}
    time.sleep(0.02)
    monkeypatch.setattr(bad.source, "read", real)
    until(lambda: stored(journal, "a") == [1])
    forwarder.stop()
    assert forwarder.errors == {}
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_stop_waits_for_a_disk_that_has_room_again_but_not_for_ever(
    site: Site, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log(*range(10))
    forwarder = Forwarder(poll_seconds=0.01)
    forwarder.add(site.source)
    real = journal.apply_all
    monkeypatch.setattr(journal, "apply_all", _raiser(WorkspaceError("the disk is full")))
    started = time.monotonic()
    forwarder.stop(patience_seconds=0.1)
    assert 0.1 <= time.monotonic() - started < 2
    assert forwarder.errors == {"a": "the disk is full"}
    timer = threading.Timer(0.1, lambda: monkeypatch.setattr(journal, "apply_all", real))
    timer.start()
    forwarder.stop(patience_seconds=10)
    timer.join()
    assert forwarder.errors == {}
    assert stored(journal) == list(range(10))


def test_stop_brings_in_a_backlog_of_many_passes(site: Site, journal: Journal) -> None:
    site.spool = Spool(site.folder)
    for start in range(0, 300_000, 10_000):
        site.spool.extend(Metric(1, "loss", float(value)) for value in range(start, start + 10_000))
    assert sum(path.stat().st_size for path in site.segments()) > 8 * 1024 * 1024
    forwarder = Forwarder()
    forwarder.add(site.source)
    forwarder.stop()
    assert journal.counts() == {"a": 300_000}


def test_a_folder_that_does_not_exist_yet_is_no_error(tmp_path: Path, journal: Journal) -> None:
    source = SpoolSource("a", tmp_path / "later", journal, BlobStore(tmp_path / "b"))
    assert not source.forward()
    assert list_streams(tmp_path / "later") == {}


# The commits that sites share.


def sites_of(tmp_path: Path, journal: Journal, names: str = "abcdefgh") -> list[Site]:
    sites = [Site(tmp_path, journal, name) for name in names]
    for site in sites:
        site.log(*range(100))
    return sites


def forwarder_of(sites: list[Site]) -> Forwarder:
    forwarder = Forwarder(poll_seconds=0.001)
    for site in sites:
        forwarder.add(site.source)
    return forwarder


def test_the_sites_of_a_pass_share_one_commit(tmp_path: Path, journal: Journal) -> None:
    sites = sites_of(tmp_path, journal)
    forwarder_of(sites).stop()
    assert journal.commits == 1
    assert journal.counts() == dict.fromkeys("abcdefgh", 100)
    assert all(len(site.segments()) == 1 for site in sites)


def test_a_pass_holds_only_so_much_in_memory(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_pass, "GROUP_BYTES", 1_000)  # 100 records are more
    forwarder_of(sites_of(tmp_path, journal)).stop()
    assert journal.commits == 8
    assert journal.counts() == dict.fromkeys("abcdefgh", 100)


def test_one_site_that_no_commit_takes_fails_alone(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = sites_of(tmp_path, journal)
    real = journal.apply_all

    def refuse_c(batches: Any, *rest: Any) -> Any:
        if any(site == "c" for site, _, _ in batches):
            raise WorkspaceError("not this one")
        return real(batches, *rest)

    forwarder = forwarder_of(sites)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "apply_all", refuse_c)
        forwarder.stop(patience_seconds=0.0)
    assert forwarder.errors == {"c": "not this one"}
    assert journal.counts() == dict.fromkeys("abdefgh", 100)
    assert len(sites[2].segments()) > 3
    forwarder.stop()
    assert stored(journal, "c") == list(range(100))
    assert len(sites[2].segments()) == 1


def test_an_interrupted_pass_loses_nothing_of_any_site(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = sites_of(tmp_path, journal)
    forwarder = forwarder_of(sites)
    with monkeypatch.context() as patch:
        patch.setattr(sites[4].source, "read", _raiser(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            forwarder.stop()
    assert journal.counts() == {}
    forwarder.stop()
    assert all(stored(journal, name) == list(range(100)) for name in "abcdefgh")


def test_sources_of_different_journals_share_a_pass(tmp_path: Path, journal: Journal) -> None:
    other = Journal(tmp_path / "other.db")
    forwarder_of([*sites_of(tmp_path, journal, "ab"), *sites_of(tmp_path, other, "c")]).stop()
    assert (journal.counts(), other.counts()) == ({"a": 100, "b": 100}, {"c": 100})
    other.close()


def test_a_stream_of_other_sites_events_has_a_mark_of_its_own(journal: Journal) -> None:
    """What a process logs for the sites that it hosts is stored under their names, and read once all the same."""
    stream = "ab" * 16
    run = frames.Run(3, 3, 1, frames.frame(3, b"x", frames.salt_of(stream)))
    journal.apply_all([("site-1", stream, run)], [("host", stream, 7)])
    assert (journal.high_water("host", stream), journal.high_water("site-1", stream)) == (7, 3)
    journal.apply_all([], [("host", stream, 5)])
    assert journal.high_water("host", stream) == 7


# What an idle poll costs.


def test_an_idle_poll_opens_no_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.log(*range(100))
    site.source.forward()
    old = time.time() - 10
    os.utime(site.folder, (old, old))  # it was not changed lately
    assert not site.source.forward()
    opened: list[object] = []
    real = site.source.journal.apply_all
    monkeypatch.setattr(site.source.journal, "apply_all", lambda *a: opened.append("commit") or real(*a))
    for name in ("open", "listdir", "scandir"):
        monkeypatch.setattr(os, name, _counted(getattr(os, name), opened))
    monkeypatch.setattr("io.open", _counted(io.open, opened))
    for _ in range(5):
        assert not site.source.forward()
    assert opened == []
    site.log(100)
    assert site.source.forward()
    assert opened  # the check can fail


def _counted(call: Callable[..., Any], calls: list[object]) -> Callable[..., Any]:
    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return call(*args, **kwargs)

    return counting


@pytest.mark.parametrize("age", [0, 10])
def test_a_new_segment_is_seen_at_once(site: Site, journal: Journal, age: int) -> None:
    """Also one that was created within the same tick of the file system's clock as the listing before."""
    site.log(1)
    site.source.forward()
    now = time.time() - age
    os.utime(site.folder, (now, now))
    site.source.forward()
    site.log(*range(2, 40))
    if not age:
        os.utime(site.folder, (now, now))  # as if all of it had happened within one tick
    site.source.forward()
    assert stored(journal) == list(range(1, 40))


def test_a_folder_that_appears_or_is_replaced_is_listed(tmp_path: Path) -> None:
    listing = Listing(tmp_path / "later")
    assert listing.streams() == {}
    spool = Spool(tmp_path / "later")
    assert listing.streams() == {}
    spool.append(Metric(1, "loss", 1.0))
    assert list(listing.streams()) == [spool.stream]
    spool.close()
