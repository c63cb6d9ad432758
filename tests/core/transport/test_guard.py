"""Guard: an agent refuses what the gate of a site cannot have released, and notes what it lets out."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest

from fedtrack.journal.journal import Journal
from fedtrack.policy.policy import Policy, Rule
from fedtrack.policy.terms import Terms
from fedtrack.seals.release_log import FILE, read_lines
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Direction, Metric, Param, Rejected, Text, decode
from fedtrack.transport.guard import Guard
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward

TERMS = Terms((Policy(allow=[Rule("loss", every="round", clip=(0, 10), sig=3), Rule("free")], params=["lr"]),))
CANARY = "4711081500992233"


class World:
    """A site whose script writes past its gate, and the server's journal."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = Journal(root / "journal.db")
        self.blobs = BlobStore(root / "blobs")
        self.spool = Spool(root / "site" / "spool")
        self.spool.mark_round(0)
        self.attach()

    def attach(self) -> None:
        """Begin again, as after a kill of the agent."""
        guard = Guard.open("a", "run", self.root / "site", TERMS)
        assert guard is not None
        self.guard = guard
        self.source = SpoolSource("a", self.root / "site" / "spool", self.journal, self.blobs, guard=guard)

    def stored(self) -> list[object]:
        batches = self.journal.read(0)
        return [decode(payload) for batch in batches for _, payload in frames.split(batch.body)]

    def withheld(self) -> int:
        (row,) = self.journal.streams()
        return row.counts.withheld


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_no_gate_has_released_is_refused_counted_and_leaves_no_trace(world: World, tmp_path: Path) -> None:
    world.spool.extend(
        [
            Metric(1, "loss", 1.25, 1),
            Metric(1, "loss", 1.5, 2),  # a second one of the round
            Metric(1, "free", 1.23456789),
            Metric(1, CANARY, 1.0),
            Metric(1, "age", 4711.0),
            Param(1, "lr", 0.1),
            Param(1, "patient", CANARY),
            Text(1, "note", CANARY),
            Text(1, "note", world.spool.blobs.put(CANARY.encode() * 1000)),
            Rejected(1, "x", f"the value {CANARY}"),
            Rejected(1, "loss", "ValueError"),
        ]
    )
    world.spool.note(Direction(1, CANARY, "lower"))
    world.spool.note(Direction(1, "loss", "lower"))
    for payload in ([1, 1, "free", 1.5, None, None, CANARY], [40, 1, CANARY], [32, 1, 0, CANARY]):
        world.spool._store([msgspec.msgpack.encode(payload)])  # more than a record has, and a kind of a later version
    canary = struct.unpack("<d", struct.pack("<Q", 0x7FF8_DEAD_BEEF_CAFE))[0]
    world.spool.append(Metric(1, "free", canary))
    world.spool.mark_round(1)
    world.spool.append(Metric(1, "loss", 12.5))  # beyond the range
    world.spool.append(Metric(1, "loss", 2.34567))  # more digits than allowed
    world.spool.append(Metric(1, "loss", 2.5))
    forward(world.source)
    events = [r for r in world.stored() if isinstance(r, Metric | Param | Rejected | Text)]
    assert events == [
        Metric(1, "loss", 1.25, 1),
        Metric(1, "free", 1.23456789),
        Param(1, "lr", 0.1),
        Rejected(1, "loss", "ValueError"),
        Metric(1, "loss", 2.5),
    ]
    assert world.guard.all_refused == world.withheld() == 14
    assert world.journal.counts() == {"a": 5}
    world.journal.close()
    server = [path for path in tmp_path.rglob("*") if path.is_file() and "spool" not in path.parts]
    assert not [path for path in server if CANARY.encode() in path.read_bytes()]


def test_an_agent_that_was_killed_notes_nothing_twice_and_refuses_the_same(world: World) -> None:
    other = Spool(world.spool.folder)
    other.mark_round(0)
    for number in range(30):
        (world.spool if number % 3 else other).append(Metric(number, "loss", float(number % 10)))
        (world.spool if number % 2 else other).append(Metric(number, "free", float(number)))
        if number % 5 == 0:
            if number % 2:
                forward(world.source)
            else:  # the log is written, the commit never comes
                for stream in world.source.begin():
                    world.source.read(stream)
            world.attach()
    forward(world.source)
    events = [r for r in world.stored() if isinstance(r, Metric)]
    assert sum(r.key == "loss" for r in events) == 1
    assert sorted(r.value for r in events if r.key == "free") == [float(n) for n in range(30)]
    lines, _ = read_lines((world.root / "site" / FILE).read_bytes(), "x")
    counts = {
        key: sum(one.count for line in lines for one in line.released if one.key == key) for key in ("loss", "free")
    }
    assert counts == {"loss": 1, "free": 30}
    assert sum(line.refused for line in lines) == world.guard.all_refused == 29
    assert sum(row.counts.withheld for row in world.journal.streams()) == 29


def test_the_log_never_has_a_value(world: World) -> None:
    world.spool.append(Metric(1, "free", 4711.0815))
    forward(world.source)
    data = (world.root / "site" / FILE).read_text()
    assert '"free"' in data
    assert "4711" not in data
