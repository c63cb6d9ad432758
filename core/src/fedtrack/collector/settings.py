"""Settings: how a collector is run, and what it refuses to start with."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedtrack.connection.file_system import kind_of
from fedtrack.errors import ConfigError
from fedtrack.runs.kept_receivers import NamedReceiver
from fedtrack.transport.quota import Quota

DEFAULT_PORT = 8443

#: SQLite's locks and its write-ahead log need a disk of this machine.
_NETWORK = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "lustre", "beegfs", "gpfs", "ceph"))


@dataclass(frozen=True)
class Settings:
    """A collector's settings.

    Attributes:
        folder: Its folder.
        host: The address to bind: a name or a number.
        port: The port; 0 means any free one.
        socket: The path of a Unix socket, instead of host and port; "" for none.
        tls_cert: A PEM file with the certificate and its chain; None without TLS.
        tls_key: A PEM file with its key; None if it is in ``tls_cert``.
        trusted_proxy: The address of a proxy that does TLS; requests from elsewhere are refused. "" for none.
        server_name: A further name by which the collector is called, without TLS.
        receivers: The receivers of every run by id.
        idle_minutes: After how many minutes without a message a run ends.
        keep_days: After how many days an ended and delivered run is removed; None means never.
        max_bytes: The most bytes of all files in the folder; None means as many as the disk has.
        events_per_second: How many records a site may keep sending; what is over it waits in the site's spool.
        bytes_per_second: How many bytes a site may keep sending.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    socket: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxy: str = ""
    server_name: str = ""
    receivers: Mapping[str, NamedReceiver] = field(default_factory=dict)
    idle_minutes: float = 60.0
    keep_days: float | None = None
    max_bytes: int | None = None
    events_per_second: float = Quota.events_per_second
    bytes_per_second: float = Quota.bytes_per_second

    @property
    def hosts(self) -> frozenset[str] | None:
        """The names by which it may be called; None if its certificate says so."""
        if self.tls_cert is not None:
            return None
        names = {"localhost", "127.0.0.1", "::1", self.host.lower(), self.server_name.lower()}
        return frozenset(names - {""})

    def check(self) -> None:
        """Refuse settings that would lose records, or send tokens without encryption.

        Raises:
            ConfigError: A setting is not valid; the message says which, and what is.
        """
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"--port is {self.port}; valid are 0 (any free one) to 65535.")
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigError("--tls-key is given without --tls-cert; name the file of the certificate, too.")
        for option, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if path is not None and not path.is_file():
                raise ConfigError(f"{option} is {str(path)!r}, where there is no file; name a PEM file.")
        if self.trusted_proxy and not _is_address(self.trusted_proxy):
            raise ConfigError(f"--trusted-proxy is {self.trusted_proxy!r}; name the proxy's IP address.")
        if self.tls_cert is None and not self.socket and not self.trusted_proxy and not is_loopback(self.host):
            raise ConfigError(
                f"--host {self.host} would take tokens without encryption; give --tls-cert and --tls-key, or "
                "--trusted-proxy ADDRESS of a proxy that does TLS, or bind 127.0.0.1."
            )
        if self.idle_minutes <= 0:
            raise ConfigError(f"--idle-minutes is {self.idle_minutes:g}; it must be greater than 0.")
        if self.keep_days is not None and self.keep_days < 0:
            raise ConfigError(f"--keep-days is {self.keep_days:g}; it must be 0 or more.")
        if self.max_bytes is not None and self.max_bytes < 1024 * 1024:
            raise ConfigError(f"--max-bytes is {self.max_bytes}; it must be at least 1048576.")
        for option, rate in (
            ("--events-per-second", self.events_per_second),
            ("--bytes-per-second", self.bytes_per_second),
        ):
            if not 0 < rate < math.inf:
                raise ConfigError(f"{option} is {rate:g}; it must be greater than 0.")
        kind = kind_of(self.folder)
        if kind in _NETWORK:
            raise ConfigError(
                f"{str(self.folder)!r} is on {kind}, a network file system, where a journal can be damaged; "
                "choose a folder on a disk of this machine."
            )


def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own."""
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
