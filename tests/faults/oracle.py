"""Oracle of the matrix: what the scripts did and what is in the files, read without fedtrack's code."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

#: The process that made a call, and the call's number.
Call: TypeAlias = tuple[str, int]

_FRAME = struct.Struct("<2sIIQ")
_HEADER = 64


@dataclass
class Facts:
    """What is where, by site.

    Attributes:
        returned: The calls that returned, as the scripts wrote them down.
        journal: The calls in the journal; a call that is there twice is in ``twice``.
        spool: The calls that are only in the spool.
        backend: The calls in the backend.
        twice: The calls that are in the journal more than once.
    """

    returned: dict[str, set[Call]] = field(default_factory=dict)
    journal: dict[str, set[Call]] = field(default_factory=dict)
    spool: dict[str, set[Call]] = field(default_factory=dict)
    backend: dict[str, set[Call]] = field(default_factory=dict)
    twice: list[Call] = field(default_factory=list)

    def lost(self, site: str) -> set[Call]:
        """Return the calls that returned and are nowhere."""
        return self.returned[site] - self.journal.get(site, set()) - self.spool.get(site, set())

    @property
    def all_journaled(self) -> bool:
        """Whether each call that returned is in the journal."""
        return all(calls <= self.journal.get(site, set()) for site, calls in self.returned.items())

    @property
    def everything_arrived(self) -> bool:
        """Whether each call that returned is in the journal, and each call of the journal in the backend."""
        return all(
            calls <= self.journal.get(site, set()) <= self.backend.get(site, set())
            for site, calls in self.returned.items()
        )


def read_facts(home: Path, workspace: Path) -> Facts:
    """Return what is in the files of a run."""
    found = Facts()
    for path in sorted((home / "truth").iterdir()):
        site, pid = path.name.split(".")
        lines = path.read_text().split()
        found.returned.setdefault(site, set()).update((f"p{pid}", int(line)) for line in lines)
    for site, calls in _journal(workspace / "server" / "simulate_job" / "journal.db"):
        there = found.journal.setdefault(site, set())
        found.twice += [call for call in calls if call in there]
        there.update(calls)
    for site in found.returned:
        spool = workspace / site / "simulate_job" / "spool"
        stored = {call for path in spool.glob("*.spool") for call in _calls(path.read_bytes()[_HEADER:])}
        found.spool[site] = stored - found.journal.get(site, set())
    if (home / "backend").exists():
        for line in (home / "backend").read_text().splitlines():
            site, _, _, key, value = json.loads(line)
            found.backend.setdefault(site, set()).add((key, int(value)))
    return found


def _journal(path: Path) -> Iterator[tuple[str, list[Call]]]:
    if not path.exists():
        return
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
        try:
            rows = journal.execute("SELECT site, body FROM batch ORDER BY id").fetchall()
        except sqlite3.Error:
            rows = []  # damaged: what can be read of it is not this oracle's question
    for site, body in rows:
        if site == "server":  # its own records come from no script
            continue
        yield site, list(_calls(body)) if isinstance(body, bytes) else []


def _calls(body: bytes) -> Iterator[Call]:
    position = 0
    while position + _FRAME.size <= len(body):
        magic, length, _, _ = _FRAME.unpack_from(body, position)
        start = position + _FRAME.size
        if magic != b"\xf5\xd7" or start + length > len(body):
            return
        record: Any = msgspec.msgpack.decode(body[start : start + length])
        if record[0] == 1:
            yield record[2], int(record[3])
        position = start + length
