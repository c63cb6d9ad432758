"""Server: the process of ``fedtrack collect``: the HTTP server, the runs, and the signals that end it in order."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

import uvicorn

from fedtrack.collector.app import CollectorApp
from fedtrack.collector.collected_runs import CollectedRuns
from fedtrack.collector.room import Room
from fedtrack.collector.settings import Settings
from fedtrack.collector.tokens import Tokens
from fedtrack.errors import ConfigError, WorkspaceError
from fedtrack.private_folder import private_folder
from fedtrack.runs.kept_receivers import built
from fedtrack.transport.quota import Quota

log = logging.getLogger(__name__)

_LOG_BYTES, _LOG_FILES = 10 * 1024 * 1024, 5
_STEP_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Longer than an hour of silence of a site.
_KEEP_ALIVE_SECONDS = 4000
#: Connections at once; a site has one.
_CONNECTIONS = 4096


class CollectorServer:
    """A collector.

    Args:
        settings: Its settings, which are checked here.

    Raises:
        ConfigError: A setting is not valid.
        WorkspaceError: The folder cannot be used, another collector uses it, or the address is taken.
        FedtrackError: A receiver is not installed, or its arguments are not valid.
    """

    def __init__(self, settings: Settings) -> None:
        settings.check()
        self._settings = settings
        folder = settings.folder
        _create(folder)
        self._lock = _locked(folder)
        built(settings.receivers, "--receiver")  # what is wrong with them is said now, and not at the first message
        room = Room(folder, settings.max_bytes)
        self.runs = CollectedRuns(
            folder,
            settings.receivers,
            idle_seconds=settings.idle_minutes * 60,
            room=room,
            keep_days=settings.keep_days,
            quota=Quota(settings.events_per_second, settings.bytes_per_second),
        )
        app = CollectorApp(Tokens(folder), self.runs, settings.hosts, settings.trusted_proxy)
        self._socket = _bound(settings)
        self._server = _Server(
            uvicorn.Config(
                app.asgi(),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=10,
                limit_concurrency=_CONNECTIONS,
                h11_max_incomplete_event_size=64 * 1024,
                proxy_headers=False,
            )
        )
        self._certificate = _Certificate(settings) if settings.tls_cert is not None else None
        self._over = threading.Event()

    @property
    def url(self) -> str:
        """The address for ``connect``."""
        if self._settings.socket:
            return f"unix://{Path(self._settings.socket).absolute()}"
        name = self._settings.host
        host = f"[{name}]" if ":" in name else name
        return f"{'https' if self._certificate else 'http'}://{host}:{self._socket.getsockname()[1]}"

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP; then deliver the rest and close every run.

        Args:
            ready: Called when sites can connect.
        """
        config = self._server.config
        config.load()
        if self._certificate is not None:
            config.ssl = self._certificate.context
        self._server.ready = ready
        self.runs.resume()
        watch = threading.Thread(target=self._watch, name="fedtrack-runs", daemon=True)
        watch.start()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._over.set()
            watch.join(30)
            log.info("ending: delivering the rest")
            self.runs.close()
            self._socket.close()
            os.close(self._lock)

    def stop(self) -> None:
        """Let ``run`` return; called by another thread."""
        self._server.should_exit = True

    def _watch(self) -> None:
        while not self._over.wait(_STEP_SECONDS):
            try:
                self.runs.step()
                if self._certificate is not None:
                    self._certificate.look()
            except Exception:  # of any kind: nothing may end the collector but its operator
                log.exception("the look at the runs failed")


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready, and whose process goes on after a signal has ended it."""

    ready: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT, SIGTERM and SIGHUP; uvicorn's own would then let the signal end the process as well."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._end) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.should_exit = True


class _Certificate:
    """The certificate, read again when its file changes: connections that are open keep the earlier one."""

    def __init__(self, settings: Settings) -> None:
        self._cert, self._key = settings.tls_cert, settings.tls_key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The certificate {str(self._cert)!r} cannot be used: {error}; give PEM files that belong together."
            ) from None
        self._seen = self._times()

    def look(self) -> None:
        """Read the files again if they have changed; an invalid one leaves the earlier certificate in use."""
        found = self._times()
        if found == self._seen:
            return
        self._seen = found
        try:
            self._load()
            log.info("the certificate was read again")
        except (OSError, ssl.SSLError) as error:
            log.error("the new certificate %s cannot be used, the earlier one stays: %s", self._cert, error)

    def _load(self) -> None:
        assert self._cert is not None  # noqa: S101 - there is TLS only with a certificate
        self.context.load_cert_chain(self._cert, self._key)

    def _times(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for path in (self._cert, self._key):
            try:
                status = path.stat() if path is not None else None
            except OSError:
                status = None
            found.append((status.st_ino, status.st_mtime_ns) if status else None)
        return found


def log_to(folder: Path) -> None:
    """Write the collector's log into its folder, 10 MB a file, the last five files."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = RotatingFileHandler(folder / "collector.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for shown in root.handlers:
        shown.setLevel(root.level)  # the terminal shows no more than it was asked for
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def _create(folder: Path) -> None:
    private_folder(folder, "collector's folder", ["collector.log"])


def _locked(folder: Path) -> int:
    """Return the descriptor of the folder's lock.

    Raises:
        WorkspaceError: Another collector has it.
    """
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise WorkspaceError(f"The collector's folder {str(folder)!r} cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise WorkspaceError(
            f"The folder {str(folder)!r} is in use by the collector with the process id {holder}; "
            "stop that one, or choose another folder."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _bound(settings: Settings) -> socket.socket:
    """Return the listening socket.

    Raises:
        WorkspaceError: The address is taken, or is none of this machine's.
    """
    try:
        if settings.socket:
            return _unix_socket(Path(settings.socket))
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((settings.host, settings.port))
    except OSError as error:
        where = settings.socket or f"{settings.host}:{settings.port}"
        raise WorkspaceError(f"The collector cannot listen at {where}: {error.strerror}; choose another one.") from None
    return found


def _unix_socket(path: Path) -> socket.socket:
    """Return a socket (0600) at ``path``; one that a killed collector left is replaced: the folder's lock is ours."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path.is_socket():
        path.unlink()
    before = os.umask(0o177)
    try:
        found.bind(str(path))
    finally:
        os.umask(before)
    return found
