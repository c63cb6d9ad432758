"""Kills writers and servers at random instants and checks that no returned log call is lost, doubled or altered.

    python crash_campaign.py --kills 60 --away 4 --seed 1

The server is killed and started again. At last it is away for a while, in which writers log and are killed.

The oracle knows only two things: which log calls had been begun and had returned when their process was killed
(``actors.Ledger``), and which bits it has flipped itself in the spools of dead processes.
"""

from __future__ import annotations

import argparse
import json
import logging
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from actors import RECEIVER, SITES, SLOTS_PER_SITE, Ledger, blob_content, serve, write
from scoreboard import Row

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.segments import is_open
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Gap, Metric, Text, decode

INSIDE = "kills inside a log call"
FINAL_CALLS = 50
#: While the server is away: how often a writer is killed, and what a writer waits between its log calls.
AWAY_KILL_SECONDS, AWAY_PAUSE_SECONDS = 0.5, 0.001


def fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child; 0 is its status if it returns."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


@dataclass
class Campaign:
    """One run of the campaign in a folder of its own."""

    root: Path
    seed: int
    kills: int
    away_seconds: float
    source: random.Random = field(init=False)
    ledger: Ledger = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    # By slot: what must be there, (first, last returned), and what may be there besides, (first, last attempted).
    obligations: list[tuple[int, int, int]] = field(default_factory=list)
    flipped: set[str] = field(default_factory=set)
    recovered: float = 0.0

    def __post_init__(self) -> None:
        self.source = random.Random(self.seed)
        cells = len(SITES) * SLOTS_PER_SITE * 2
        self.ledger = Ledger(memoryview(mmap.mmap(-1, 8 * cells)).cast("Q"))

    def run(self) -> None:
        actors = {name: self._start(name) for name in (*SITES, "server")}
        kills = 0
        # A campaign in which hardly any kill lands inside a log call shows little: go on until enough have.
        while kills < self.kills or (self.counts[INSIDE] < self.kills // 10 and kills < 5 * self.kills):
            kills += 1
            sleep(self.source.uniform(0.003, 0.08))
            name = self.source.choice((*SITES, *SITES, *SITES, "server", "server"))
            self._kill(actors[name], name)
            if name == "server":
                self._flip_a_bit()
            actors[name] = self._start(name)
        for name, pid in actors.items():
            self._kill(pid, name)
        self._away()
        for site in SITES:  # liveness: a fresh event passes
            self._finish(fork(lambda site=site: write(self.root, site, self.ledger, self.seed, FINAL_CALLS)))  # type: ignore[misc]
        began = monotonic()
        self._finish(fork(lambda: serve(self.root, self.seed, drain=True)))
        self.recovered = monotonic() - began

    def _away(self) -> None:
        """Let writers log, at the pace of a training, and kill them, while there is no server."""
        writers = {site: self._start(site, AWAY_PAUSE_SECONDS) for site in SITES}
        until = monotonic() + self.away_seconds
        while (left := until - monotonic()) > 0:
            sleep(min(left, AWAY_KILL_SECONDS))
            site = self.source.choice(SITES)
            self._kill(writers[site], site)
            writers[site] = self._start(site, AWAY_PAUSE_SECONDS)
        for site, pid in writers.items():
            self._kill(pid, site)

    def _start(self, name: str, pause_seconds: float = 0.0) -> int:
        seed = self.source.randrange(2**32)
        if name == "server":
            return fork(lambda: serve(self.root, seed, drain=False))
        return fork(lambda: write(self.root, name, self.ledger, seed, pause_seconds=pause_seconds))

    def _kill(self, pid: int, name: str) -> None:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"{name} ended by itself with status {status}"
        self.counts[f"kills of a {'server' if name == 'server' else 'writer'}"] += 1
        if name != "server":
            self._take_stock(name)

    def _take_stock(self, site: str) -> None:
        first = SITES.index(site) * SLOTS_PER_SITE
        inside = 0
        for slot in range(first, first + SLOTS_PER_SITE):
            obligation = (slot, self.ledger.returned(slot), self.ledger.attempted(slot))
            # A slot that nobody has touched since an earlier kill looks as that one left it.
            inside += obligation[2] > obligation[1] and obligation not in self.obligations
            self.obligations.append(obligation)
        self.counts[INSIDE] += inside

    def _finish(self, pid: int) -> None:
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"a process that was left alone ended with status {status}"

    def _flip_a_bit(self) -> None:
        paths = [path for site in SITES for path in (self.root / site / "spool").glob("*.spool") if not is_open(path)]
        if not paths or self.source.random() > 0.3:
            return
        path = self.source.choice(sorted(paths))
        data = bytearray(path.read_bytes())
        if len(data) < 400:
            return
        # Not in the last frame, where a flip cannot be told from a write that the kill has cut.
        position = self.source.randrange(len(data) - 300)
        data[position] ^= 1 << self.source.randrange(8)
        path.write_bytes(data)
        self.flipped.add(path.name)
        self.counts["flipped bits"] += 1

    def check(self) -> None:
        """Compare what arrived with the ledger."""
        journal = Journal(self.root / "journal.db")
        assert journal.database.writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        arrived = self._arrived(journal)
        self._check_receiver(journal)
        gaps = journal.gaps()
        self.counts["gaps"] = len(gaps)
        missing = 0
        slots = range(len(SITES) * SLOTS_PER_SITE)
        for slot in slots:
            must, may = self._expected(slot)
            missing += len(must - arrived[slot])
            self.counts["events returned"] += len(must)
            invented = arrived[slot] - may
            assert not invented, f"slot {slot}: values that nobody logged: {sorted(invented)[:5]}"
        self.counts["lost to a flipped bit"] = min(missing, len(gaps), self.counts["flipped bits"])
        self.counts["lost"] = missing - self.counts["lost to a flipped bit"]
        for gap in gaps:
            assert any(n.startswith(gap.stream) and n in gap.reason for n in self.flipped), f"no flip: {gap.reason}"
        left = [path for site in SITES for path in (self.root / site / "spool").glob("*.spool")]
        assert not left, f"delivered but not deleted: {left}"
        journal.close()
        wrong = {name: self.counts[name] for name in ("lost", "doubled", "disordered")}
        assert not any(wrong.values()), f"{wrong}, gaps: {gaps}"

    def _expected(self, slot: int) -> tuple[set[int], set[int]]:
        last = self.ledger.returned(slot)
        assert last == self.ledger.attempted(slot)  # the last writers ended by themselves
        must = may = set(range(1, last + 1))
        for of, returned, attempted in self.obligations:
            if of == slot:
                must = must - set(range(returned + 1, attempted + 1))
        return must, may

    def _arrived(self, journal: Journal) -> dict[int, set[int]]:
        """Return the values that the journal holds, by slot; check that each is intact, count what is not in order."""
        blobs = BlobStore(self.root / "blobs")
        arrived: dict[int, set[int]] = {slot: set() for slot in range(len(SITES) * SLOTS_PER_SITE)}
        newest: dict[str, tuple[int, int]] = {}
        after = 0
        while batches := journal.read(after):
            for batch in batches:
                after = batch.id
                for seq, payload in frames.split(batch.body):
                    record = decode(payload)
                    assert not isinstance(record, Gap)
                    assert isinstance(record, Metric | Text)
                    slot, value = int(record.key), record.time_ns
                    assert SITES[slot // SLOTS_PER_SITE] == batch.site
                    assert record.step == value
                    if isinstance(record, Metric):
                        assert record.value == value / 8
                    else:
                        assert blobs.read(record.text) == blob_content(slot, value)  # type: ignore[arg-type]
                        self.counts["blobs"] += 1
                    last_seq, last_value = newest.get(batch.stream, (0, 0))
                    self.counts["doubled"] += value in arrived[slot]
                    self.counts["disordered"] += seq <= last_seq or value <= last_value
                    newest[batch.stream] = (seq, value)
                    arrived[slot].add(value)
                    self.counts["events"] += 1
        return arrived

    def _check_receiver(self, journal: Journal) -> None:
        expected: dict[str, list[bytes]] = {}
        after = 0
        while batches := journal.read(after):
            for batch in batches:
                after = batch.id
                lines = expected.setdefault(f"{batch.site}-{batch.stream}", [])
                for seq, payload in frames.split(batch.body):
                    record = decode(payload)
                    lines.append(f"{seq} {record.key} {record.time_ns}".encode())  # type: ignore[union-attr]
        found = {path.name: path.read_bytes().split(b"\n")[:-1] for path in (self.root / RECEIVER).iterdir()}
        assert found == expected, "the receiver does not hold what the journal holds"
        self.counts["streams"] = len(found)


def row_of(campaign: Campaign, passed: bool) -> Row:
    counts = campaign.counts
    kills = counts["kills of a writer"] + counts["kills of a server"]
    wrong = (counts["lost"], counts["doubled"], counts["disordered"])
    name = f"random kills, then {campaign.away_seconds:.0f} s without a server"
    row = (name, campaign.seed, kills, counts[INSIDE], counts["events returned"])
    return Row(*row, *wrong, campaign.recovered, passed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--away", type=float, default=1.0, help="seconds without a server at the end")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--row", type=Path, help="a file for the row of the table")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}", flush=True)
    logging.disable()  # damage is expected by the thousand
    root = Path(tempfile.mkdtemp(prefix="fedtrack-campaign-"))
    campaign = Campaign(root, seed, arguments.kills, arguments.away)
    passed = False
    try:
        campaign.run()
        campaign.check()
        inside = campaign.counts[INSIDE]
        if inside < arguments.kills // 10:
            sys.exit(f"vacuous: only {inside} of {arguments.kills} kills landed inside a log call")
        passed = True
    except BaseException:
        print(f"failed; the files are in {root}")
        raise
    finally:
        for name, count in campaign.counts.items():
            print(f"{name}: {count:,}")
        if arguments.row:
            arguments.row.write_text(json.dumps(row_of(campaign, passed)))
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
