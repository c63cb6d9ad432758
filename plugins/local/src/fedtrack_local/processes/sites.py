"""SitePool: the server's view of its sites' processes and of the fork server that starts them."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ConfigError, JobError
from fedtrack.failure import shortened
from fedtrack.job import ModelRecipe
from fedtrack_local.processes.end import ended
from fedtrack_local.processes.fork_server_process import ForkServerProcess
from fedtrack_local.processes.listener import Listener
from fedtrack_local.processes.messages import (
    MAX_MESSAGE,
    Build,
    Built,
    Exited,
    FromSite,
    Kill,
    Preload,
    SiteSpec,
    Spawn,
    SpawnWorker,
    ToForkServer,
    ToSite,
    ToWorker,
    WorkerSpec,
    decode_exited,
    decode_from_site,
    encode,
)
from fedtrack_local.processes.parcels import Parcel, ParcelConnection
from fedtrack_local.processes.site_link import SiteLink

_MODEL_BUILDER = "initial model {}"

#: Seconds that the rest of a message may take after its first byte.
_MESSAGE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class FromPool:
    """A message of a site, or the end of its process.

    Attributes:
        site: The site's name.
        message: The message that it sent, or ``Exited``.
        file: The descriptor of the file that came with it; who takes the message closes it.
    """

    site: str
    message: FromSite | Exited
    file: int | None = None

    def drop(self) -> None:
        """Close the file."""
        if self.file is not None:
            os.close(self.file)


class SitePool:
    """Starts sites, carries messages, and ends them; used by one thread only.

    Args:
        process: The fork server, which the pool ends; None starts a new one.

    Attributes:
        log: The file for the output of the fork server if it dies; None keeps it in the error only.
    """

    def __init__(self, process: ForkServerProcess | None = None) -> None:
        self._process = process or ForkServerProcess()
        self._control = self._process.control
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._links: dict[str, SiteLink] = {}
        self._alive: set[str] = set()
        self._builders = count(1)
        self._listener: Listener | None = None
        #: Commands that succeeded although a process of their site is still connected, which runs elsewhere.
        self._left_alone: dict[str, Exited] = {}
        self._over: list[FromPool] = []
        self.log: Path | None = None

    def preload(self, modules: Iterable[str]) -> None:
        """Import modules in the fork server, in the background; sites that are started later have them."""
        self._order(Preload(list(modules)))

    def start(self, spec: SiteSpec | WorkerSpec) -> None:
        """Start a site, or a worker for many, in the background.

        Raises:
            WorkspaceError: There is no folder for the socket of the sites.
        """
        if isinstance(spec, WorkerSpec):
            self._order_child(spec.name, SpawnWorker(spec))
            return
        if self._listener is None:
            self._listener = Listener(self._selector)
        address, secret = self._listener.address, self._listener.secret_of(spec.name)
        self._order_child(spec.name, Spawn(msgspec.structs.replace(spec, address=address, secret=secret)))

    def write_model(self, model: Any, target: Path) -> None:
        """Write an initial model; a recipe is built in a fork that has torch. See ``Engine.write_model``."""
        if isinstance(model, ModelRecipe):
            self.build_model(model, target)
        else:
            from fedtrack_local.models.initial_model import write_model  # needs numpy, while torch is being loaded

            write_model(model, target)

    def build_model(self, recipe: ModelRecipe, target: Path) -> None:
        """Build the initial model in a fork that has torch loaded.

        Raises:
            ConfigError: The callable failed; the message holds its traceback.
        """
        log = target.with_suffix(".log")
        builder = _MODEL_BUILDER.format(next(self._builders))
        order = Build(builder, str(recipe.script), recipe.callable_name, recipe.args, str(target), str(log))
        self._order_child(builder, order)
        built = False
        while not built:
            for event in self.wait(None):
                event.drop()
                if event.site != builder:
                    continue
                if isinstance(event.message, Built):
                    # Do not wait for the builder's exit: the fork server is warming torch up and reports it later.
                    built = True
                    self._alive.discard(builder)
                elif isinstance(event.message, Exited) and not built:
                    output = log.read_text(errors="replace").strip() if log.exists() else ""
                    log.unlink(missing_ok=True)
                    raise ConfigError(f"The initial model {recipe} cannot be built:\n{output}")
        log.unlink(missing_ok=True)

    def send(self, site: str, message: ToSite | ToWorker, file: int | None = None) -> None:
        """Send a message to a site; if the site has ended, ``wait`` reports it.

        Args:
            site: The site.
            message: The message.
            file: The descriptor of its file, which stays open as long as ``needs`` says so.
        """
        if site in self._links:
            self._links[site].send(message, file)

    def needs(self, site: str, task_id: int) -> bool:
        """Return whether a process of the site may still ask for the model of a task."""
        return site in self._links and self._links[site].needs(task_id)

    def needs_any(self, task_id: int) -> bool:
        """Return whether a process of any site may still ask for the model of a task."""
        return any(link.needs(task_id) for link in self._links.values())

    def seconds_alone(self, site: str) -> float:
        """Return how long a site has had no process that takes tasks, since the last one ended; 0.0 if none has."""
        link = self._links.get(site)
        return link.seconds_alone if link is not None and (link.had_leader or link.command_ended) else 0.0

    def wait(self, timeout: float | None) -> list[FromPool]:
        """Return new messages and ends of sites, after waiting up to ``timeout`` seconds for the first.

        Raises:
            JobError: The fork server died, and with it every site.
        """
        events, self._over = self._over, []
        newcomers: list[selectors.SelectorKey] = []
        for key, _ in self._selector.select(0 if events else timeout):
            if key.fileobj is self._control:
                events += self._from_fork_server()
            elif key.data is self._listener:
                newcomers.append(key)
            elif isinstance(key.fileobj, ParcelConnection) and not key.fileobj.closed:
                events += self._from_site(key.data, key.fileobj)
        self._end_stalled()
        for key in newcomers:  # last, so that the end of a process is read before another one takes its place
            self._welcome(key)
        return events

    def is_alive(self, site: str) -> bool:
        """Return whether the site's process is running."""
        return site in self._alive

    def kill(self, site: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a site and everything it started."""
        if site in self._left_alone:  # what is left of it was not started here, and hears that there is no server
            self._over.append(self._end(self._left_alone[site]))
        with contextlib.suppress(OSError):
            self._send(Kill(site, number))

    def end_sites(self) -> None:
        """End every site; the fork server then ends in the background, and ``close`` waits for that."""
        if self._alive:
            self.close()
        else:
            self._let_go()

    def close(self, grace_seconds: float = 3.0) -> None:
        """End every process; those that still run after the grace period are killed."""
        self._let_go()
        self._process.close(grace_seconds)

    def _let_go(self) -> None:
        self._process.hang_up()
        for link in self._links.values():
            for connection in link:
                connection.close()
        self._selector.close()
        if self._listener is not None:
            self._listener.close()

    def _from_fork_server(self) -> list[FromPool]:
        try:
            data = self._control.recv(MAX_MESSAGE)
        except ConnectionError:  # it died before it had read every order
            data = b""
        if not data:
            raise self._death()
        exited = decode_exited.decode(data)
        if exited.name not in self._alive:
            return []  # the builder of the initial model, which has sent its result already
        # The channel of a process that has ended may still hold its last message.
        events = self._drain(exited.name) if exited.name in self._links else []
        if exited.status == 0 and self._links[exited.name].is_kept_by_another:
            self._left_alone[exited.name] = exited  # its command has left the training to a process elsewhere
            return events
        return [*events, self._end(exited)]

    def _end(self, exited: Exited) -> FromPool:
        """Forget a site that has ended."""
        self._left_alone.pop(exited.name, None)
        link = self._links.pop(exited.name)
        for connection in link:
            self._let_go_of(link, connection)
        self._alive.discard(exited.name)
        return FromPool(exited.name, exited)

    def _from_site(self, link: SiteLink, connection: ParcelConnection) -> list[FromPool]:
        site = link.site
        parcel: Parcel | None = None
        try:
            # Never waits: a site that stops in the middle of a message must not stop the others.
            parcel = connection.take(MAX_MESSAGE, wait=False)
            if parcel is None:
                return []
            message = link.take(connection, decode_from_site.decode(parcel.data))
            if link.command_ended and link.had_leader and not link.has_leader:
                self._end_command(site)
            if message is not None:
                event = FromPool(site, message, parcel.file)
                parcel = None
                return [event]
            return []
        except EOFError:
            pass  # the fork server reports when and how the process ended
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            self.kill(site)  # after an invalid message nothing on the channel can be trusted
        finally:
            if parcel is not None:
                parcel.drop()
        had_leader = link.has_leader
        self._let_go_of(link, connection)
        if had_leader and not link.has_leader:
            if site in self._left_alone:
                return [self._end(self._left_alone[site])]
            if link.command_ended:
                self._end_command(site)
        return []

    def _end_stalled(self) -> None:
        """End the sites that have stopped in the middle of a message."""
        for link in list(self._links.values()):
            for connection in link:
                if connection.is_stalled(_MESSAGE_SECONDS):
                    self.kill(link.site)
                    self._let_go_of(link, connection)

    def _end_command(self, site: str) -> None:
        """End what a command has left running: the training in it is over."""
        self.kill(site, signal.SIGTERM)

    def _let_go_of(self, link: SiteLink, connection: ParcelConnection) -> None:
        self._selector.unregister(connection)
        link.remove(connection)

    def _welcome(self, key: selectors.SelectorKey) -> None:
        """Go on with a process that connects to the socket of the sites."""
        assert self._listener is not None  # noqa: S101 - narrows the type; the key is the listener's
        self._listener.forget_strangers()
        found = self._listener.ready(key)
        if found is None:
            return
        site, peer = found
        if site not in self._links:
            peer.close()  # the site is over
            return
        connection = ParcelConnection(peer)
        self._links[site].add(connection)
        self._selector.register(connection, selectors.EVENT_READ, self._links[site])

    def _drain(self, site: str) -> list[FromPool]:
        events: list[FromPool] = []
        link = self._links[site]
        for connection in link:
            while not connection.closed:
                try:
                    if not connection.poll():
                        break
                except OSError:
                    break
                events += self._from_site(link, connection)
        return events

    def _order_child(self, name: str, order: Spawn | SpawnWorker | Build) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                self._order(order, theirs.fileno())
        except JobError:
            ours.close()
            raise
        connection = ParcelConnection(ours)
        self._links[name] = SiteLink(name, connection, direct=not isinstance(order, Spawn))
        self._alive.add(name)
        self._selector.register(connection, selectors.EVENT_READ, self._links[name])

    def _order(self, message: ToForkServer, *descriptors: int) -> None:
        """Send an order to the fork server.

        Raises:
            JobError: The fork server died.
        """
        try:
            self._send(message, *descriptors)
        except ConnectionError:
            raise self._death() from None

    def _send(self, message: ToForkServer, *descriptors: int) -> None:
        socket.send_fds(self._control, [encode(message)], descriptors)

    def _death(self) -> JobError:
        """Return the error about the death of the fork server, with its output, which is kept in ``log``."""
        with contextlib.suppress(KeyError, ValueError):  # it is reported once
            self._selector.unregister(self._control)
        status, output, where = self._process.end(), self._process.output(), ""
        if self.log is not None:
            with contextlib.suppress(OSError):
                self.log.write_text(output)
                where = f"; its output is in {self.log}"
        how = "closed its connection" if status is None else ended(status)
        return JobError(
            f"The process that starts the sites {how}, and the sites ended with it{where}.",
            shortened(output),
        )
