"""Counts on their way to the journal: exact whatever ended the process, and deleted only once they are there."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.spool.spool import MIN_LIMIT_BYTES, Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import Metric, Rejected
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import Site, forward, raiser, stored

Handed = dict[str, list[Counts | None]]


@pytest.fixture
def handed(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Handed:
    """Return what the journal was handed, by stream."""
    found: Handed = {}
    real: Callable[..., Any] = journal.apply_all

    def take(batches: Any, marks: Any = (), counts: Any = (), ends: Any = ()) -> Any:
        result = real(batches, marks, counts, ends)
        for site, stream, one in counts:
            assert site == "a"
            found.setdefault(stream, []).append(one)
        return result

    monkeypatch.setattr(journal, "apply_all", take)
    return found


def drain(folder: Path, journal: Journal, **options: Any) -> SpoolSource:
    source = SpoolSource("a", folder, journal, BlobStore(folder / "server-blobs"), **options)
    source.ended = True
    while forward(source):
        pass
    return source


def test_counts_are_handed_over_when_they_change(site: Site, handed: Handed) -> None:
    site.log(1)
    forward(site.source)
    assert handed == {site.spool.stream: [Counts()]}
    site.spool.count_withheld(3)
    site.spool.append(Rejected(1, "k", "no number"))
    site.spool.extend([Rejected(1, "k", "no number"), Metric(1, "k", 1.0)])
    for _ in range(3):
        site.source._listing._until = 0.0  # a second later
        forward(site.source)
    assert handed == {site.spool.stream: [Counts(), Counts(0, 3, 2)]}
    assert site.spool.counts == Counts(0, 3, 2)


def test_a_page_is_deleted_after_the_process_its_segments_and_the_commit(
    site: Site, journal: Journal, handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log(*range(100))
    site.spool.count_withheld(7)
    (page,) = site.folder.glob("*.counts")
    site.source.ended = True
    forward(site.source)
    assert page.exists()  # its process only seems to be gone
    assert len(site.segments()) == 1
    site.spool.close()
    with monkeypatch.context() as patch:
        patch.setattr(journal, "apply_all", raiser(WorkspaceError("the disk is full")))
        site.spool.count_withheld(1)
        site.spool.close()
        with pytest.raises(WorkspaceError):
            forward(site.source)
    assert page.exists()
    forward(site.source)
    assert handed[site.spool.stream][-1] == Counts(0, 8, 0)
    assert [path.name for path in site.folder.iterdir()] == []
    assert stored(journal) == list(range(100))


@pytest.mark.parametrize("delete", [True, False])
def test_a_stream_that_has_only_a_page_is_handed_over_too(
    tmp_path: Path, journal: Journal, handed: Handed, delete: bool
) -> None:
    spool = Spool(tmp_path / "a")
    spool.count_withheld(5)
    spool.close()
    drain(spool.folder, journal, delete=delete)
    assert handed == {spool.stream: [Counts(0, 5, 0)]}
    assert len(list(spool.folder.glob("*.counts"))) == (not delete)
    drain(spool.folder, journal)  # a server that begins anew
    assert handed[spool.stream] == [Counts(0, 5, 0)] * (1 if delete else 2)
    assert list(spool.folder.glob("*.counts")) == []


def test_a_page_of_a_process_that_only_seems_to_be_gone_stays(tmp_path: Path, journal: Journal, handed: Handed) -> None:
    spool = Spool(tmp_path / "a")
    spool.count_withheld(5)
    drain(spool.folder, journal)
    spool.count_withheld(1)
    spool.close()
    drain(spool.folder, journal)
    assert handed == {spool.stream: [Counts(0, 5, 0), Counts(0, 6, 0)]}
    assert list(spool.folder.glob("*.counts")) == []


def test_what_another_journal_may_not_have_yet_stays(tmp_path: Path, journal: Journal, handed: Handed) -> None:
    other = Journal(tmp_path / "other.db")
    spool = Spool(tmp_path / "a")
    spool.count_withheld(5)
    spool.close()
    drain(spool.folder, journal, other=other)
    other.close()
    assert handed == {spool.stream: [Counts(0, 5, 0)]}
    assert len(list(spool.folder.glob("*.counts"))) == 1


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_without_a_page_the_counts_are_unknown_and_the_records_arrive(
    site: Site, journal: Journal, handed: Handed, damage: str
) -> None:
    site.log(1)
    (page,) = site.folder.glob("*.counts")
    if damage == "missing":
        page.unlink()
    else:
        page.write_bytes(b"\0" * 4096)
    for _ in range(3):
        site.source._listing._until = 0.0
        forward(site.source)
    assert handed == {site.spool.stream: [None]}
    assert stored(journal) == [1]


def test_where_no_page_can_be_made_the_spool_goes_on(
    tmp_path: Path, journal: Journal, handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mmap.mmap", raiser(OSError(19, "No such device")))
        spool = Spool(tmp_path / "a")
        spool.append(Metric(1, "loss", 1.0))
        spool.append(Rejected(1, "k", "no number"))
        source = SpoolSource("a", spool.folder, journal, BlobStore(tmp_path / "b"))
        forward(source)
    assert handed == {spool.stream: [None]}
    assert sorted(path.suffix for path in spool.folder.iterdir()) == [".spool"]
    spool.close()
    spool.append(Metric(1, "loss", 2.0))  # in a new segment, for which a page can be made
    source._listing._until = 0.0
    forward(source)
    assert handed == {spool.stream: [None, Counts(0, 0, 1)]}
    assert len(stored(journal)) == 3


KILLED = """
import os, resource, sys
from pathlib import Path
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer
folder, limit_bytes, file_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spool = Spool(folder, **({"limit_bytes": limit_bytes} if limit_bytes else {}))
if file_bytes:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
writer = Writer(spool)
for step in range(10_000):
    writer.record_metric("loss", 0.5, step)
    if step % 100 == 0:
        writer.record_metric("loss", "no number", step)
os.kill(os.getpid(), 9)
"""


def killed(folder: Path, limit_bytes: int = 0, file_bytes: int = 0, command: tuple[str, ...] = ()) -> None:
    call = [*command, sys.executable, "-c", KILLED, str(folder), str(limit_bytes), str(file_bytes)]
    assert subprocess.run(call, capture_output=True, timeout=60).returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("limit_bytes", "file_bytes"), [(MIN_LIMIT_BYTES, 0), (0, 64 * 1024), (0, 4096)], ids=["limit", "disk", "tiny disk"]
)
def test_after_sigkill_on_a_full_disk_the_count_is_exact(
    tmp_path: Path, journal: Journal, handed: Handed, limit_bytes: int, file_bytes: int
) -> None:
    killed(tmp_path / "a", limit_bytes, file_bytes)
    drain(tmp_path / "a", journal)
    ((stream, counts),) = handed.items()
    assert counts[-1] is not None
    assert counts[-1].dropped + journal.total() == 10_000 + 100
    assert counts[-1].dropped > 5_000
    assert counts[-1].rejected == sum(isinstance(record, Rejected) for record in stored(journal))
    assert list((tmp_path / "a").glob(f"{stream}*")) == []


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("mount") is None, reason="only root may mount a file system")
@pytest.mark.parametrize("kib", [12, 64])
def test_after_sigkill_on_a_file_system_that_is_full_the_count_is_exact(
    tmp_path: Path, journal: Journal, handed: Handed, kib: int
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "fedtrack", str(folder)])
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        killed(folder / "a")
        drain(folder / "a", journal)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    (counts,) = handed.values()
    assert counts[-1] is not None
    assert counts[-1].dropped + journal.total() == 10_000 + 100
    assert counts[-1].dropped > 5_000


def test_a_forked_child_counts_in_a_page_of_its_own(tmp_path: Path, journal: Journal, handed: Handed) -> None:
    spool = Spool(tmp_path / "a")
    spool.append(Metric(1, "loss", 1.0))
    spool.count_withheld(1)
    pid = os.fork()
    if pid == 0:
        assert spool.counts == Counts()
        spool.count_withheld(10)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    spool.count_withheld(1)
    spool._writing = True  # as in a signal handler inside another call
    spool.count_withheld(100)
    spool._writing = False
    assert spool.counts == Counts(0, 102, 0)
    spool.close()
    drain(spool.folder, journal)
    assert sorted(counts[-1].withheld for counts in handed.values() if counts[-1]) == [2, 10, 100]
    assert list(spool.folder.glob("*.counts")) == []


def test_a_disk_that_is_full_at_the_very_first_moment_is_counted_once_there_is_room(
    tmp_path: Path, journal: Journal, handed: Handed
) -> None:
    spool = Spool(tmp_path / "a")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        for number in range(100):
            spool.append(Metric(1, "loss", float(number)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(spool.folder.iterdir()) == []
    spool.append(Metric(1, "loss", 100.0))
    spool.close()
    drain(spool.folder, journal)
    assert handed == {spool.stream: [Counts(100, 0, 0)]}
