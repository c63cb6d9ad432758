"""SitePool: the server's view of its sites' processes and of the fork server that starts them."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic

import msgspec

from fedtrack.engines.local.messages import (
    MAX_MESSAGE,
    Build,
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
from fedtrack.errors import ConfigError, JobError
from fedtrack.job.initial_model import ModelRecipe

#: Variables that belong to the process which hosts the receivers, by prefix: no site ever sees them.
CREDENTIAL_PREFIXES = ("MLFLOW_", "WANDB_", "DATABRICKS_", "AWS_", "AZURE_", "GOOGLE_")

_MODEL_BUILDER = "initial model"

#: How long the rest of a message may take once it has begun.
_MESSAGE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class FromPool:
    """Something that happened to a site.

    Attributes:
        site: Its name.
        message: What it sent; or that its process is gone.
    """

    site: str
    message: FromSite | Exited


class SitePool:
    """Starts sites, carries messages, and ends them; used by one thread only."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the pool
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedtrack.engines.local.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=site_environment(),
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C in the terminal is for the server, which ends its sites in order
            )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._channels: dict[str, Connection] = {}
        self._alive: set[str] = set()

    def preload(self, modules: Iterable[str]) -> None:
        """Import modules in the fork server, in the background; sites started later have them already."""
        self._order(Preload(list(modules)))

    def start(self, spec: SiteSpec | WorkerSpec) -> None:
        """Start a site, or a worker for many, in the background."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # A site that stops in the middle of a message must not stop the others.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _MESSAGE_SECONDS, 0))
        with theirs:
            order = Spawn(spec) if isinstance(spec, SiteSpec) else SpawnWorker(spec)
            self._order(order, theirs.fileno())
        channel = Connection(ours.detach())
        self._channels[spec.name] = channel
        self._alive.add(spec.name)
        self._selector.register(channel, selectors.EVENT_READ, spec.name)

    def build_model(self, recipe: ModelRecipe, target: Path) -> None:
        """Build the initial model in a fork that has torch loaded; see ``job.initial_model``.

        Raises:
            ConfigError: The callable failed; the message holds its traceback.
        """
        log = target.with_suffix(".log")
        self._order(Build(str(recipe.script), recipe.callable_name, recipe.args, str(target), str(log)))
        while True:
            for event in self.wait(None):
                if isinstance(event.message, Exited) and event.site == _MODEL_BUILDER:
                    output = log.read_text(errors="replace").strip() if log.exists() else ""
                    log.unlink(missing_ok=True)
                    if event.message.status:
                        raise ConfigError(f"The initial model {recipe} cannot be built:\n{output}")
                    return

    def send(self, site: str, message: ToSite | ToWorker) -> None:
        """Send a message to a site; one that is gone is reported by ``wait``."""
        with contextlib.suppress(OSError):
            self._channels[site].send_bytes(encode(message))

    def wait(self, timeout: float | None) -> list[FromPool]:
        """Return what happened, waiting up to ``timeout`` seconds for something to happen.

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
            self._order(Kill(site, number))

    def close(self, grace_seconds: float = 3.0) -> None:
        """End every process; what is still running after the grace period is killed."""
        self._control.close()
        for channel in self._channels.values():
            channel.close()
        self._selector.close()
        deadline = monotonic() + grace_seconds
        try:
            self._process.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()  # sites have asked the kernel to die with it
            self._process.wait()
        self._errors.close()

    def _from_fork_server(self) -> list[FromPool]:
        data = self._control.recv(MAX_MESSAGE)
        if not data:
            self._selector.unregister(self._control)
            self._errors.seek(0)
            output = self._errors.read().decode(errors="replace")
            raise JobError("The process that starts the sites died, and the sites with it.", output[-4000:])
        exited = decode_exited.decode(data)
        # A last message may still lie in the channel of a process that is gone.
        events = self._drain(exited.name) if exited.name in self._channels else []
        self._alive.discard(exited.name)
        return [*events, FromPool(exited.name, exited)]

    def _from_site(self, site: str) -> list[FromPool]:
        try:
            data = self._channels[site].recv_bytes(MAX_MESSAGE)
            return [FromPool(site, decode_from_site.decode(data))]
        except EOFError:
            pass  # the fork server says when, and how, the process ended
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            self.kill(site)  # nothing after a message that is not one of ours can be trusted
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

    def _order(self, message: ToForkServer, *descriptors: int) -> None:
        socket.send_fds(self._control, [encode(message)], descriptors)


def site_environment() -> dict[str, str]:
    """Return this process's environment without what only receivers may know."""
    return {key: value for key, value in os.environ.items() if not key.startswith(CREDENTIAL_PREFIXES)}
