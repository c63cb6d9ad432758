"""A scripted session of a site and its server is ended at every instant, and recovers from each of them.

The session's changes to files are recorded: created, written, truncated, renamed, removed, synced, committed. For each
prefix of them, and for each write that was cut in the middle, the files are made as they were at that instant. A new
server reads them, and its journal must have all promised events, once and in order, and no others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Durability, Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, decode
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward


class Change(NamedTuple):
    """One change: ``returned`` counts the log calls that had returned before it, ``begun`` those that had begun."""

    kind: str
    path: str
    data: Any
    returned: int
    begun: int


@dataclass
class Files:
    """What is on the disk after some changes: contents, and of each file how much of it is safe from a power loss."""

    content: dict[str, bytes] = field(default_factory=dict)
    synced: dict[str, int] = field(default_factory=dict)
    journal: dict[str, bytes] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        match change.kind:
            case "create":
                self.content[change.path] = b""
            case "write":
                self.content[change.path] += change.data
            case "truncate":
                self.content[change.path] = self.content[change.path][: change.data]
            case "rename":
                self.content[change.data] = self.content.pop(change.path)
            case "remove":
                self.content.pop(change.path, None)
            case "sync":
                self.synced[change.path] = len(self.content[change.path])
            case "commit":
                self.journal = change.data

    def without_power(self) -> Files:
        """Return what is left when everything that was not synced is gone."""
        left = {path: data[: self.synced.get(path, 0)] for path, data in self.content.items()}
        return Files(left, dict(self.synced), self.journal)


class Recorder:
    """Records what this process does to the files of a spool folder, and the journal's commits."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.changes: list[Change] = []
        self.returned = self.begun = 0
        self._folder = str(folder)
        self._names: dict[int, str] = {}
        self._real = {name: getattr(os, name) for name in ("open", "write", "ftruncate", "rename", "unlink")}
        for name in self._real:
            patch.setattr(os, name, getattr(self, f"_{name}"))
        real_sync = os.fdatasync
        patch.setattr(os, "fdatasync", lambda fd: (real_sync(fd), self._note("sync", self._file(fd)))[0])

    def commit(self, journal: Path) -> None:
        files = {
            path.name: path.read_bytes() for path in journal.parent.glob("journal.db*") if path.suffix != ".db-shm"
        }
        self.changes.append(Change("commit", "", files, self.returned, self.begun))

    def _note(self, kind: str, path: str | None, data: Any = None) -> None:
        if path is not None and path.startswith(self._folder):
            self.changes.append(Change(kind, path, data, self.returned, self.begun))

    def _file(self, descriptor: int) -> str:
        # As the file is called now, whatever it was called when it was opened.
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())

    def _open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        descriptor: int = self._real["open"](path, flags, *arguments, **options)
        if flags & os.O_CREAT:
            self._note("create", str(path))
        return descriptor

    def _write(self, descriptor: int, data: bytes) -> int:
        written: int = self._real["write"](descriptor, data)
        self._note("write", self._file(descriptor), bytes(data[:written]))
        return written

    def _ftruncate(self, descriptor: int, size: int) -> None:
        self._real["ftruncate"](descriptor, size)
        self._note("truncate", self._file(descriptor), size)

    def _rename(self, source: Any, target: Any, **options: Any) -> None:
        self._real["rename"](source, target, **options)
        self._note("rename", str(source), str(target))

    def _unlink(self, path: Any, **options: Any) -> None:
        self._real["unlink"](path, **options)
        self._note("remove", str(path))


def session(root: Path, durability: Durability, patch: pytest.MonkeyPatch) -> list[Change]:
    """Log 60 records over several segments and two incarnations, while a server reads, commits and deletes."""
    folder = root / "spool"
    folder.mkdir(parents=True)
    recorder = Recorder(folder, patch)
    journal = Journal(root / "journal.db")
    real = journal.apply_all
    patch.setattr(journal, "apply_all", lambda *parts: (real(*parts), recorder.commit(journal.path))[0])
    source = SpoolSource("site-1", folder, journal, BlobStore(root / "blobs"))
    for first in (1, 31):
        spool = Spool(folder, segment_bytes=400, durability=durability)
        for value in range(first, first + 30):
            recorder.begun = value
            spool.append(Metric(value, "loss", value / 8, value))
            recorder.returned = value
            if value % 7 == 0:
                forward(source)
        spool.close()
    source.ended = True
    while forward(source):
        pass
    journal.close()
    assert not list(folder.glob("*.spool"))
    patch.undo()
    return recorder.changes


def endings(changes: list[Change]) -> Iterator[tuple[Files, int, int]]:
    """Yield the files, what had returned and what had begun, for every instant at which all may have ended."""
    files = Files()
    for change in changes:
        yield files, change.returned, change.begun
        if change.kind == "write":
            for size in {1, len(change.data) // 2, len(change.data) - 1}:
                torn = Files(dict(files.content), dict(files.synced), files.journal)
                torn.apply(change._replace(data=change.data[:size]))
                yield torn, change.returned, change.begun
        files.apply(change)
    yield files, changes[-1].returned, changes[-1].begun


def recover(files: Files, before: Path, root: Path) -> list[int]:
    """Let a new server read the files; return the values that its journal holds, in order per stream."""
    for path, data in files.content.items():
        target = root / "spool" / Path(path).relative_to(before)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    root.mkdir(exist_ok=True)
    for name, data in files.journal.items():
        (root / name).write_bytes(data)
    journal = Journal(root / "journal.db")
    source = SpoolSource("site-1", root / "spool", journal, BlobStore(root / "blobs"))
    source.ended = True
    passes = 0
    while forward(source):
        passes += 1
        assert passes < 100, "it never ends"
    streams: dict[str, list[int]] = {}
    for batch in journal.read(0):
        for _, payload in frames.split(batch.body):
            record = decode(payload)
            assert isinstance(record, Metric)
            assert record.value == record.time_ns / 8
            streams.setdefault(batch.stream, []).append(record.time_ns)
    assert journal.gaps() == [], "an end in the middle is no damage"
    journal.close()
    left = list((root / "spool").glob("*.spool"))
    assert not left, "what is in the journal is deleted from the spool"
    assert all(values == sorted(values) for values in streams.values()), "not in order"
    return [value for values in streams.values() for value in values]


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_wherever_it_ends_what_had_returned_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    changes = session(tmp_path / "session", durability, monkeypatch)
    kinds = {change.kind for change in changes}
    assert kinds >= {"create", "write", "rename", "remove", "commit"}
    instants = 0
    for files, returned, begun in endings(changes):
        # With durability="disk" the power may fail as well.
        for survived in (files, files.without_power()) if durability == "disk" else (files,):
            values = recover(survived, tmp_path / "session" / "spool", tmp_path / str(instants))
            assert len(values) == len(set(values)), "twice"
            assert set(range(1, returned + 1)) <= set(values) <= set(range(1, begun + 1))
            instants += 1
    print(f"{durability}: {len(changes)} changes, {instants} endings")
    assert instants > 300
