"""The tally's algebra, over any interleaving of log calls, full spools, forwarding, delivery and death."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.journal.journal import Journal
from fedtrack.runs.tally import CountedSite, Goodbye, Tally, take_tally
from fedtrack.spool.spool import MIN_LIMIT_BYTES, Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Metric, Rejected, Tag
from fedtrack.transport.spool_source import SpoolSource
from support.delivering import Scripted, poison
from support.forwarding import forward

SITES = ("server", "site-1", "site-2")

_FRAME = struct.Struct("<2sIIQ")
_HEADER_SIZE, _GAP, _REJECTED, _FIRST_CONTROL = 64, 9, 8, 32


@dataclass
class Process:
    """One life of a site's process.

    Attributes:
        spool: What it logs into.
        calls: How many of its log calls have returned.
        end: ``alive``, ``left`` or ``killed``.
    """

    spool: Spool
    calls: int = 0
    end: str = "alive"


@dataclass
class World:
    """A run of three sites and two receivers, and the script's own count of it."""

    folder: Path
    processes: dict[str, list[Process]] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)
    damaged: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "journal.db")
        self.ledger = Ledger(self.folder / LEDGER_FILE, self.journal)
        self.blobs = BlobStore(self.folder / "blobs")
        self.run = RunInfo("r1", "job", self.folder, "server", SITES[1:], 0, self.blobs)
        self.sources = {
            site: SpoolSource(site, self.folder / site, self.journal, self.blobs, read_bytes=4_000) for site in SITES
        }
        self.receivers = {"all": Scripted(poison(3.0, 13.0)), "own": Scripted()}
        for site in SITES:
            self.start(site)

    def start(self, site: str) -> None:
        """Let the site have a process, if it has none."""
        lives = self.processes.setdefault(site, [])
        if not lives or lives[-1].end != "alive":
            spool = Spool(self.folder / site, limit_bytes=MIN_LIMIT_BYTES, segment_bytes=8_000)
            lives.append(Process(spool))

    def log(self, site: str, count: int) -> None:
        self.start(site)
        process = self.processes[site][-1]
        for value in range(count):
            process.spool.append(Metric(1, "loss", float(value), value))
            process.calls += 1

    def log_what_nobody_holds(self, site: str, count: int) -> None:
        self.start(site)
        process = self.processes[site][-1]
        process.spool.extend([Tag(1, "key", "value")] * count)
        process.calls += count

    def reject(self, site: str, count: int) -> None:
        self.start(site)
        process = self.processes[site][-1]
        before = process.spool.dropped
        process.spool.extend([Rejected(1, "key", "no number")] * count)
        process.calls += count
        self.rejected[site] += count if process.spool.dropped == before else 0

    def log_until_it_is_full(self, site: str, count: int) -> None:
        self.start(site)
        process = self.processes[site][-1]
        long = "metric-" + "x" * 200
        for value in range(300 + count):
            process.spool.append(Metric(1, long, float(value), value))
            process.calls += 1

    def begin_round(self, site: str, count: int) -> None:
        """Let what is logged from now on be of another round; what says so is no event."""
        self.start(site)
        self.processes[site][-1].spool.mark_round(count)

    def withhold(self, site: str, count: int) -> None:
        """Let the site's policy keep calls at the site."""
        self.start(site)
        process = self.processes[site][-1]
        process.spool.count_withheld(count)
        process.calls += count
        self.withheld[site] += count

    def forward(self, site: str, _: int) -> bool:
        return forward(self.sources[site])

    def kill(self, site: str, _: int) -> None:
        """End the process as SIGKILL does: the kernel closes its files, and it says nothing."""
        process = self.processes[site][-1]
        if process.end == "alive":
            process.end = "killed"
            if process.spool._fd >= 0:
                os.close(process.spool._fd)
                process.spool._fd = -1
            process.spool._counts.close()

    def leave(self, site: str, _: int) -> None:
        process = self.processes[site][-1]
        if process.end == "alive":
            process.spool.close()
            process.end = "left"

    def damage(self, site: str, count: int) -> None:
        """Turn bytes of a file over that nobody has read yet."""
        files = sorted((self.folder / site).glob("*.spool"), key=lambda path: path.stat().st_size)
        if files and files[-1].stat().st_size > 200:
            with files[-1].open("r+b") as file:
                file.seek(-100 - count, os.SEEK_END)
                file.write(b"\xff" * 8)
            self.damaged.add(site)

    def deliver(self, _: str, count: int) -> None:
        """Let one of the receivers catch up; the other lags."""
        id_ = ("all", "own")[count % 2]
        listens: Callable[[str], bool] = (lambda _: True) if id_ == "all" else (lambda site: site == "server")
        delivery = Delivery(id_, self.receivers[id_], self.journal, self.ledger, self.run, addressed=listens)
        delivery.start()
        delivery.drain("completed")
        delivery.finish(10)

    def goodbye(self, site: str) -> Goodbye | None:
        lives = self.processes[site]
        if lives[-1].end == "alive":
            return None
        left = [life.spool for life in lives if life.end == "left"]
        streams = frozenset(stream for spool in left for stream in spool.streams)
        return Goodbye(sum(spool.stored for spool in left), sum(spool.dropped for spool in left), streams)

    def tally(self) -> Tally:
        sites = [CountedSite(site, self.folder / site, self.goodbye(site)) for site in SITES]
        known = [ReceiverTally("scripted", "server", id=id_, own_only=id_ == "own") for id_ in self.receivers]
        return take_tally({"server": (self.journal, self.ledger)}, sites, known)

    def close(self) -> None:
        for lives in self.processes.values():
            for life in lives:
                life.spool.close()
        self.ledger.close()
        self.journal.close()


STEPS = [
    World.log,
    World.log,
    World.log_what_nobody_holds,
    World.reject,
    World.log_until_it_is_full,
    World.begin_round,
    World.withhold,
    World.forward,
    World.forward,
    World.kill,
    World.leave,
    World.damage,
    World.deliver,
]


class Oracle:
    """What is in the files, read without a line of what is tested."""

    def __init__(self, world: World) -> None:
        with closing(sqlite3.connect(world.folder / "journal.db")) as database:
            rows = database.execute("SELECT id, site, body FROM batch").fetchall()
            hw = database.execute("SELECT site, stream, last FROM stream").fetchall()
        marks = {(site, stream): last for site, stream, last in hw}
        self.batches = [(id_, site, kinds(body)) for id_, site, body in rows]
        self.in_spool = {site: self._waiting(world.folder / site, site, marks) for site in SITES}

    def journaled(self, *sites: str, beyond: int = 0) -> int:
        return sum(
            is_event(kind) for id_, site, found in self.batches for kind in found if site in sites and id_ > beyond
        )

    def rejected(self, site: str) -> int:
        return sum(kind == _REJECTED for _, owner, found in self.batches for kind in found if owner == site)

    @staticmethod
    def _waiting(folder: Path, site: str, marks: dict[tuple[str, str], int]) -> int:
        waiting = 0
        for path in folder.glob("*.spool"):
            mark = marks.get((site, path.name[:32]), 0)
            waiting += sum(is_event(kind) for kind in kinds(path.read_bytes()[_HEADER_SIZE:], mark))
        return waiting


def is_event(kind: int) -> bool:
    return kind != _GAP and kind < _FIRST_CONTROL


def kinds(body: bytes, after: int = 0) -> list[int]:
    """Return the kinds of the records beyond number ``after``; of damaged bytes, what follows them is found again."""
    found, position = [], 0
    while position + _FRAME.size <= len(body):
        magic, length, _, seq = _FRAME.unpack_from(body, position)
        end = position + _FRAME.size + length
        payload = body[position + _FRAME.size : end]
        try:
            if magic != b"\xf5\xd7" or end > len(body):
                raise ValueError
            record: Any = msgspec.msgpack.decode(payload)
        except ValueError:
            position += 1
            continue
        if seq > after:
            found.append(int(record[0]))
        position = end
    return found


def check(world: World) -> None:
    """Compare a tally with the script's own count and with the files."""
    tally, oracle = world.tally(), Oracle(world)
    for site in SITES:
        found, lives = tally.sites[site], world.processes[site]
        calls = sum(life.calls for life in lives)
        dropped = sum(life.spool.dropped for life in lives)
        damaged = site in world.damaged
        assert found.journaled == oracle.journaled(site)
        withheld = world.withheld[site]
        # Also if it was killed: its pages say what it could not store. One that never logged has none.
        if not damaged and (lives[-1].end == "left" or (lives[-1].end == "killed" and calls)):
            assert found.calls is not None
        if found.calls is not None:
            assert (found.calls, found.dropped, found.withheld) == (calls, dropped, withheld)
            assert found.logged == calls - dropped - withheld
            assert found.in_spool is not None
            assert found.lost is not None
            assert found.logged == found.journaled + found.in_spool + found.lost
            assert found.lost == 0 or damaged
        if not damaged and found.in_spool is not None:
            assert found.rejected is not None
            assert found.rejected == world.rejected[site]
        if found.complete:
            assert (calls - withheld, dropped) == (oracle.journaled(site), 0)
    if tally.events_complete:
        calls = sum(life.calls for lives in world.processes.values() for life in lives)
        assert calls == oracle.journaled(*SITES) + world.withheld.total()
    check_receivers(world, tally, oracle)


def check_receivers(world: World, tally: Tally, oracle: Oracle) -> None:
    for id_, sites in (("all", SITES), ("own", ("server",))):
        found, scripted = tally.receivers[id_], world.receivers[id_]
        cursor = world.ledger.cursor(id_)
        assert found.addressed == oracle.journaled(*sites)
        assert found.addressed == found.seen
        assert found.pending == oracle.journaled(*sites, beyond=cursor.batch)
        assert found.delivered == len(scripted.got)
    if tally.complete:
        assert tally.receivers["all"].delivered + tally.receivers["all"].not_supported == oracle.journaled(*SITES)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(SITES), st.integers(1, 40)), max_size=14))
def test_every_call_is_counted_once_whatever_happens(steps: list[tuple[Callable[..., None], str, int]]) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            for step, site, count in steps:
                step(world, site, count)
            check(world)
            for site in SITES:  # and at the end of the run, when everything has been brought in
                world.leave(site, 0)
                world.sources[site].ended = True
                while world.forward(site, 0):
                    pass
            world.deliver("", 0)
            world.deliver("", 1)
            check(world)
        finally:
            world.close()
