"""Kills trainers, agents, collectors and deliverers inside a step, and checks that nothing is lost or doubled.

    python collect_campaign.py --inside 50 --seed 1

A kill counts if it has landed inside its step (a log call, the change of a segment, a request, a COMMIT, a delivery)
while events were on their way. The oracle reads only files: the journal by SQLite, and the receiver's lines.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from collect_actors import (
    COMMIT,
    DELIVER,
    RUN,
    SHIP,
    SITES,
    Place,
    arrived,
    attempted,
    collect,
    returned,
    rotating,
    shared,
    ship,
    train,
    writing,
)
from crash_campaign import fork
from scoreboard import Row

from fedtrack import plugins
from fedtrack.collector.tokens import Tokens
from support.collector import journal_events

KINDS = ("write", "rotate", "ship", "commit", "deliver")
FINAL_CALLS = 50
#: Seconds in which a step must begin, and in which everything must have arrived at the end.
STEP_SECONDS, END_SECONDS = 20.0, 180.0
#: A campaign in which too few kills land inside a step shows little: it goes on until enough have, or gives up.
MOST_ATTEMPTS = 12


@dataclass
class Campaign:
    """One run of the campaign in a folder of its own."""

    root: Path
    seed: int
    inside: int
    source: random.Random = field(init=False)
    place: Place = field(init=False)
    actors: dict[str, int] = field(default_factory=dict)
    landed: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    # Values whose call had begun and not returned when their process was killed.
    open_ended: dict[str, set[int]] = field(default_factory=lambda: {site: set() for site in SITES})
    recovered: float = 0.0

    def __post_init__(self) -> None:
        self.source = random.Random(self.seed)
        install_receiver(self.root / "plugin")
        token = Tokens(self.root / "collector").add("*")
        self.place = Place(self.root, free_port(), token, shared(self.root / "cells"))

    def run(self) -> None:
        for name in ("collector", *SITES, "agent"):
            self._start(name)
        attempts = 0
        while missing := [kind for kind in KINDS if self.landed[kind] < self.inside]:
            attempts += 1
            if attempts > MOST_ATTEMPTS * self.inside * len(KINDS):
                sys.exit(f"vacuous: of each kind {self.inside} kills should land inside, and {dict(self.landed)} did")
            self._attempt(self.source.choice(missing))
        for site in SITES:
            self._kill(site)
        for site in SITES:  # liveness: fresh events pass
            self._start(site, FINAL_CALLS)
        begun = monotonic()
        for site in SITES:
            self._ended(site)
        self._wait_until_delivered()
        self.recovered = monotonic() - begun
        os.kill(self.actors["collector"], signal.SIGTERM)
        self._ended("collector")
        self._kill("agent")

    def _attempt(self, kind: str) -> None:
        """Wait until a process is inside a step, and kill it there."""
        self._revive()
        site = self.source.choice(SITES)
        cells = self.place.cells
        victim, mark = {
            "write": (site, writing(site)),
            "rotate": (site, rotating(site)),
            "ship": ("agent", SHIP),
            "commit": ("collector", COMMIT),
            "deliver": ("deliverer", DELIVER),
        }[kind]

        until, spins = monotonic() + STEP_SECONDS, 0
        while not cells[mark]:
            spins += 1
            if spins % 20_000 == 0:
                self._count_arrived()
                if monotonic() > until:
                    self.counts["steps that did not begin"] += 1
                    return
                self._revive()
        for _ in range(self.source.randrange(200)):  # not always at the first instant
            pass
        if not self._kill(victim):
            return
        inside = bool(cells[mark])
        self._forget_marks(victim)
        self.counts["kills"] += 1
        if self.counts["kills"] % 50 == 0:
            print(f"{self.counts['kills']} kills: {dict(self.landed)}", flush=True)
        self.counts["kills inside a step"] += inside
        self.landed[kind] += inside and self._is_on_the_way(kind)
        if victim != "deliverer":  # a deliverer is started again by its supervisor
            self._start(victim)

    def _is_on_the_way(self, kind: str) -> bool:
        """Return whether events were not confirmed, or not delivered."""
        if kind == "deliver":
            return True  # what it was delivering
        logged = sum(self.place.cells[attempted(site)] for site in SITES)
        return logged > self._count_arrived()

    def _forget_marks(self, victim: str) -> None:
        """Take back the marks that a dead process has left: the next one is not inside a step yet."""
        marks = {"agent": [SHIP], "collector": [COMMIT, DELIVER], "deliverer": [DELIVER]}
        for mark in marks.get(victim) or [writing(victim), rotating(victim)]:
            self.place.cells[mark] = 0

    def _count_arrived(self) -> int:
        """Return how many events are in the journal, and tell it to the trainers."""
        path = self.place.server / "journal.db"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                counts = dict(connection.execute("SELECT site, sum(n) FROM stream GROUP BY site"))
        except sqlite3.OperationalError:  # it is being created
            return 0
        for site in SITES:
            self.place.cells[arrived(site)] = counts.get(site, 0)
        return sum(counts.values())

    def _start(self, name: str, calls: int | None = None) -> None:
        seed, place = self.source.randrange(2**32), self.place
        works: dict[str, Callable[[], None]] = {"collector": lambda: collect(place), "agent": lambda: ship(place)}
        self.actors[name] = fork(works.get(name, lambda: train(place, name, seed, calls)))

    def _kill(self, name: str) -> bool:
        """Kill a process; return False if it has ended before."""
        if name == "deliverer":
            pid = deliverer_of(self.actors["collector"])
            if pid is None:
                return False
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: deliverer_of(self.actors["collector"]) != pid, STEP_SECONDS)
            return True
        pid = self.actors.pop(name)
        fed = deliverer_of(pid) if name == "collector" else None
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"{name} ended by itself with status {status}"
        if fed is not None:  # it hangs up by itself
            wait_until(lambda: not Path(f"/proc/{fed}").exists(), STEP_SECONDS)
        if name in SITES:
            cells = self.place.cells
            self.open_ended[name] |= set(range(cells[returned(name)] + 1, cells[attempted(name)] + 1))
        return True

    def _revive(self) -> None:
        """Start an agent when the last one has ended because it had nothing to do; nothing else may end."""
        found, status = os.waitpid(self.actors["agent"], os.WNOHANG)
        if found:
            assert status == 0, f"the agent ended with status {status}"
            self._start("agent")

    def _ended(self, name: str) -> None:
        """Wait for a process that ends by itself."""
        pid, until = self.actors.pop(name), monotonic() + END_SECONDS
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                assert status == 0, f"{name}, which was left alone, ended with status {status}"
                return
            assert monotonic() < until, f"{name} does not end"
            self._revive()
            sleep(0.02)

    def _wait_until_delivered(self) -> None:
        lines = self.place.server / "lines"
        wait_until(lambda: lines.read_bytes().count(b"\n") >= self._count_arrived(), END_SECONDS)

    def check(self) -> None:
        """Compare what arrived with what had returned."""
        with closing(sqlite3.connect(self.place.server / "journal.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("SELECT count(*) FROM gap").fetchone() == (0,)
        expected: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for site, events in journal_events(self.place.server / "journal.db").items():
            if site not in SITES:
                continue  # what the server makes of theirs
            for stream, seq, _, _, _, key, value, step, *_ in events:
                assert (key, value) == ("loss", step / 8)
                expected.setdefault((site, stream), []).append((seq, step))
        for site in SITES:
            arrived = [step for (of, _), pairs in expected.items() if of == site for _, step in pairs]
            must = set(range(1, self.place.cells[returned(site)] + 1)) - self.open_ended[site]
            self.counts["events returned"] += len(must)
            self.counts["lost"] += len(must - set(arrived))
            self.counts["doubled"] += len(arrived) - len(set(arrived))
            invented = set(arrived) - must - self.open_ended[site]
            assert not invented, f"{site}: values that nobody logged: {sorted(invented)[:5]}"
        for pairs in expected.values():
            self.counts["disordered"] += pairs != sorted(pairs)
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for line in (self.place.server / "lines").read_text().splitlines():
            site, stream, seq, step = line.split()
            if site not in SITES:
                continue
            found.setdefault((site, stream), []).append((int(seq), int(step)))
        assert found == expected, "the receiver does not hold what the journal holds"
        left = [*(self.root / "outbox").glob("*/*/sites/*/spool/*.spool")]
        assert not left, f"confirmed but not deleted: {left}"
        wrong = {name: self.counts[name] for name in ("lost", "doubled", "disordered")}
        assert not any(wrong.values()), wrong


def install_receiver(folder: Path) -> None:
    """Install the plugin in marked_receiver.py, for this process and for those that it starts."""
    info = folder / "fedtrack_marked-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "marked_receiver.py", folder)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedtrack-marked\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedtrack]\nmarked = marked_receiver\n")
    sys.path.insert(0, str(folder))
    plugins.unload()


def deliverer_of(collector: int) -> int | None:
    """Return a deliverer among the children of a process."""
    for task in Path(f"/proc/{collector}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
            for pid in children:
                if b"fedtrack.delivery.deliverer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        except OSError:  # it has ended meanwhile
            continue
    return None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    until = monotonic() + seconds
    while not condition():
        assert monotonic() < until, "it did not happen"
        sleep(0.005)


def row_of(campaign: Campaign, passed: bool) -> Row:
    counts = campaign.counts
    wrong = (counts["lost"], counts["doubled"], counts["disordered"])
    name = f"collector: {', '.join(f'{kind} {campaign.landed[kind]}' for kind in KINDS)}"
    row = (name, campaign.seed, counts["kills"], sum(campaign.landed.values()), counts["events returned"])
    return Row(*row, *wrong, campaign.recovered, passed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inside", type=int, default=2, help="kills that must land inside each kind of step")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--row", type=Path, help="a file for the row of the table")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, run {RUN}", flush=True)
    logging.disable()  # failures are expected by the hundred
    root = Path(tempfile.mkdtemp(prefix="fedtrack-collect-"))
    campaign = Campaign(root, seed, arguments.inside)
    passed = False
    try:
        campaign.run()
        campaign.check()
        passed = True
    except BaseException:
        print(f"failed; the files are in {root}")
        raise
    finally:
        for pid in campaign.actors.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name, count in [*campaign.counts.items(), *campaign.landed.items()]:
            print(f"{name}: {count:,}")
        if arguments.row:
            arguments.row.write_text(json.dumps(row_of(campaign, passed)))
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
