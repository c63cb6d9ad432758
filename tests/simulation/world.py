"""World: the machines, the network and the processes of one simulation, and what each step does to them."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from simulation.backend import Backend
from simulation.clock import Clock
from simulation.databases import simulated_databases
from simulation.disk import Disk, Killed, Process
from simulation.files import Files
from simulation.network import Network
from simulation.nodes import RUN, Agent, Deliverer, Server, Site
from simulation.oracle import read_marks, read_rows
from simulation.plan import Plan
from simulation.protocol import Trace
from simulation.truth import Call, Truth

from fedtrack.errors import FedtrackError
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.workspace import RUN_FOLDER, RunRecord, Workspace
from fedtrack.tracking.blobs import BlobStore

_T = TypeVar("_T")


class World:
    """Everything that a plan happens to.

    Args:
        root: An empty folder.
        plan: The setting and the steps.
    """

    def __init__(self, root: Path, plan: Plan) -> None:
        self.plan, self.setting = plan, plan.setting
        self.root = root
        self.clock, self.truth, self.trace, self.network = Clock(), Truth(), Trace(), Network()
        self.names = tuple(f"site-{number + 1}" for number in range(self.setting.sites))
        home = Disk(root / "home", self.clock.wall_ns)
        self.disks = {"server": home}
        for name in self.names:
            self.disks[name] = Disk(root / name, self.clock.wall_ns) if self.setting.ships else home
        for disk in dict.fromkeys(self.disks.values()):
            disk.removed = self._removed
        self.files = Files(dict.fromkeys(self.disks.values()))
        self.base = root / "home" / "workspace"
        self.sites: dict[str, Site] = {}
        self.agents: dict[str, Agent] = {}
        self.server: Server | None = None
        self.deliverer: Deliverer | None = None
        self.backends = [Backend("a"), Backend("b", refuses=7)]
        self.rounds: dict[str, int | None] = {}
        self.safe: dict[str, int] = dict.fromkeys(self.names, 0)
        self.stored: dict[str, int | None] = dict.fromkeys(self.names, 0)
        self.full_at: dict[str, float] = {}
        self.chance = random.Random(0)
        self._died: list[Process] = []
        workspace = Workspace(self.base)
        workspace.create(RunRecord(RUN, "job", 1), list(self.names))
        workspace.close()
        home.make_safe()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Replace clocks, files and randomness by those of this world."""
        numbers = random.Random(self.plan.seed)
        real = os.urandom
        with self.clock.in_use(), self.files.in_use(), simulated_databases():
            os.urandom = lambda size: numbers.randbytes(size)
            try:
                yield
            finally:
                os.urandom = real
                for process in self._processes():
                    self.files.bury(process)

    @property
    def folder(self) -> Path:
        """The server's folder."""
        return self.base / "server" / RUN_FOLDER

    def spool(self, site: str) -> Path:
        """Return the folder of a site's spool."""
        root = self.root / site if self.setting.ships else self.base
        return root / site / RUN_FOLDER / "spool"

    def run(self, process: Process, action: Callable[[], _T]) -> _T | None:
        """Let a process do something; None if it is killed meanwhile."""
        try:
            with self.files.running(process):
                return action()
        except Killed:
            return None
        finally:
            self.bury()

    def bury(self) -> None:
        """Remove the processes that were killed."""
        for name, site in list(self.sites.items()):
            if not site.process.alive:
                self.note_trace(name, site)
                del self.sites[name]
                self.stored[name] = None
                self.truth.cut_off.add(name)
                self._bury(site.process)
        for name, agent in list(self.agents.items()):
            if not agent.process.alive:
                del self.agents[name]
                self._bury(agent.process)
        if self.server is not None and not self.server.process.alive:
            self._bury(self.server.process)
            self.server = None
        if self.deliverer is not None and not self.deliverer.process.alive:
            self._bury(self.deliverer.process)
            self.deliverer = None

    def kill(self, process: Process) -> None:
        """Kill a process between two of its changes."""
        process.alive = False
        self.bury()

    def a_site(self, name: str) -> Site | None:
        """Return a site's process, which is started if there is none."""
        if name not in self.sites:
            site = self._start(
                f"site {name}", lambda _: Site(self.spool(name), self.setting.durability, self.setting.segment_bytes)
            )
            if site is None:
                return None
            self.sites[name] = site
            self.rounds[name] = None
            if self.server is not None and name in self.server.forwarder._sources:
                self.server.forwarder._sources[name].ended = False
        return self.sites[name]

    def a_server(self) -> Server | None:
        """Return the server, which is started if there is none; None if it cannot start."""
        if self.server is None:
            if not self.setting.ships:
                starter = Process("starter")
                with contextlib.suppress(FedtrackError):  # the disk is full: a later start tries again
                    self.run(starter, StoredRun(self.base).replace_lost_journal)
                self.files.bury(starter)
            self.server = self._start("server", lambda process: Server(self.folder, self.clock, self.trace, process))
            if self.server is not None:
                self.trace.started(read_marks(self.folder / "journal.db"))
                if not self.setting.ships:
                    self.server.read_from({name: self.spool(name) for name in self.names})
        return self.server

    def an_agent(self, name: str) -> Agent:
        """Return a site's agent, which is started if there is none."""
        if name not in self.agents:
            process = Process(f"agent {name}")
            self.agents[name] = Agent(self.spool(name), self._caller(name, process), self.clock, process)
        return self.agents[name]

    def a_deliverer(self) -> Deliverer | None:
        """Return the deliverer, which is started if there is none; None if it cannot start."""
        if self.deliverer is None and (self.folder / "journal.db").exists():
            self.deliverer = self._start(
                "deliverer",
                lambda process: Deliverer(self.folder, self.backends, self.names, self.clock, self.trace, process),
            )
        return self.deliverer

    def journaled(self) -> set[int]:
        """Return the numbers of the calls in the journal."""
        return {event.number for row in read_rows(self.folder / "journal.db") for event in row.events}

    def note_trace(self, name: str, site: Site) -> None:
        """Note whether a process that ends has left a file of its own."""
        pages = [site.folder / f"{stream}.counts" for stream in site.spool.streams]
        if site.spool.dropped and not all(page.exists() for page in pages):
            self.truth.untraced.add(name)

    def excuse(self, calls: list[Call], why: str) -> None:
        """Note why the records of calls may be missing."""
        for call in calls:
            call.excused = call.excused or why

    def _start(self, name: str, make: Callable[[Process], _T]) -> _T | None:
        process = Process(name)

        def start() -> _T | None:
            try:
                made = make(process)
            except (FedtrackError, OSError):  # the disk is full, another process has it, there is no journal yet
                self.files.bury(process)
                return None
            made.process = process  # type: ignore[attr-defined]
            return made

        return self.run(process, start)

    def _caller(self, site: str, process: Process) -> Callable[[Any], Any]:
        def answer(data: bytes) -> bytes | None:
            server = self.a_server()
            if server is None:
                return None
            return self.run(server.process, lambda: server.answer(site, data))

        return lambda message: self.network.call(message, answer, self.chance)

    def _removed(self, path: str) -> None:
        if path.endswith(".spool"):
            stream = Path(path).name.split("-")[0]
            site = Path(path).parent.parent.parent.name
            self.trace.removed(site, stream, Path(path).read_bytes())

    def _bury(self, process: Process) -> None:
        self.files.bury(process)

    def _processes(self) -> list[Process]:
        nodes = [*self.sites.values(), *self.agents.values(), self.server, self.deliverer]
        return [node.process for node in nodes if node is not None]

    def blobs(self) -> BlobStore:
        """Return the server's store of large values."""
        return BlobStore(self.folder / "blobs")
