"""SitePool: the server's view of its sites' processes and of the fork server that starts them."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ConfigError, JobError
from fedtrack.failure import shortened
from fedtrack.job import ModelRecipe
from fedtrack_local.processes.end import ended
from fedtrack_local.processes.fork_server_process import ForkServerProcess
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

_MODEL_BUILDER = "initial model"

#: Seconds that the rest of a message may take after its first byte.
_MESSAGE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class FromPool:
    """A message of a site, or the end of its process.

    Attributes:
        site: The site's name.
        message: The message that it sent, or ``Exited``.
    """

    site: str
    message: FromSite | Exited


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
        self._channels: dict[str, Connection] = {}
        self._alive: set[str] = set()
        self.log: Path | None = None

    def preload(self, modules: Iterable[str]) -> None:
        """Import modules in the fork server, in the background; sites that are started later have them."""
        self._order(Preload(list(modules)))

    def start(self, spec: SiteSpec | WorkerSpec) -> None:
        """Start a site, or a worker for many, in the background."""
        order = Spawn(spec) if isinstance(spec, SiteSpec) else SpawnWorker(spec)
        self._order_child(spec.name, order)

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
        order = Build(str(recipe.script), recipe.callable_name, recipe.args, str(target), str(log))
        self._order_child(_MODEL_BUILDER, order)
        built = False
        while not built:
            for event in self.wait(None):
                if event.site != _MODEL_BUILDER:
                    continue
                if isinstance(event.message, Built):
                    # Do not wait for the builder's exit: the fork server is warming torch up and reports it later.
                    built = True
                    self._alive.discard(_MODEL_BUILDER)
                elif isinstance(event.message, Exited) and not built:
                    output = log.read_text(errors="replace").strip() if log.exists() else ""
                    log.unlink(missing_ok=True)
                    raise ConfigError(f"The initial model {recipe} cannot be built:\n{output}")
        log.unlink(missing_ok=True)

    def send(self, site: str, message: ToSite | ToWorker) -> None:
        """Send a message to a site; if the site has ended, ``wait`` reports it."""
        with contextlib.suppress(OSError):
            self._channels[site].send_bytes(encode(message))

    def wait(self, timeout: float | None) -> list[FromPool]:
        """Return new messages and ends of sites, after waiting up to ``timeout`` seconds for the first.

        Raises:
            JobError: The fork server died, and with it every site.
        """
        events: list[FromPool] = []
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._control:
                events += self._from_fork_server()
            elif key.data in self._channels:
                events += self._from_site(key.data)
        return events

    def is_alive(self, site: str) -> bool:
        """Return whether the site's process is running."""
        return site in self._alive

    def kill(self, site: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a site and everything it started."""
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
        for channel in self._channels.values():
            channel.close()
        self._selector.close()

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
        events = self._drain(exited.name) if exited.name in self._channels else []
        self._alive.discard(exited.name)
        return [*events, FromPool(exited.name, exited)]

    def _from_site(self, site: str) -> list[FromPool]:
        try:
            data = self._channels[site].recv_bytes(MAX_MESSAGE)
            return [FromPool(site, decode_from_site.decode(data))]
        except EOFError:
            pass  # the fork server reports when and how the process ended
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            self.kill(site)  # after an invalid message nothing on the channel can be trusted
        self._selector.unregister(self._channels[site])
        self._channels.pop(site).close()
        return []

    def _drain(self, site: str) -> list[FromPool]:
        events: list[FromPool] = []
        while site in self._channels:
            try:
                if not self._channels[site].poll():
                    break
            except OSError:
                break
            events += self._from_site(site)
        return events

    def _order_child(self, name: str, order: Spawn | SpawnWorker | Build) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # A site that stops in the middle of a message must not stop the others.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _MESSAGE_SECONDS, 0))
        try:
            with theirs:
                self._order(order, theirs.fileno())
        except JobError:
            ours.close()
            raise
        channel = Connection(ours.detach())
        self._channels[name] = channel
        self._alive.add(name)
        self._selector.register(channel, selectors.EVENT_READ, name)

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
