"""Address: where a collector is called, and by which way a token may go there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fedtrack.errors import ConfigError

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True)
class Address:
    """The address of a collector.

    Attributes:
        url: ``https://host[:port][/path]``, or ``http://`` for this machine only.
        socket: The path of a Unix socket; "" for TCP.
    """

    url: str
    socket: str = ""

    @classmethod
    def of(cls, text: str) -> Address:
        """Return the address in ``text``: a URL with ``https``, ``http`` (loopback only) or ``unix``.

        Raises:
            ConfigError: It is none of them, or the token would cross a network without encryption.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"The collector's address {text!r} is no URL: {error}.") from None
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ConfigError(
                f"The collector's address {_without_secrets(text)!r} has more than a host, a port and a path; "
                "give the token with token= or FEDTRACK_TOKEN."
            )
        if parts.scheme == "unix" and parts.path.startswith("/"):
            return cls("http://localhost", parts.path)
        if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
            raise ConfigError(
                f"The collector's address {text!r} is not valid; use https://HOST[:PORT], or unix:///PATH."
            )
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(
                f"The collector's address {text!r} would send the token without encryption; use https://, "
                "or a tunnel to this machine (http://127.0.0.1:PORT)."
            )
        return cls(text.rstrip("/"))


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts._replace(netloc=f"[{host}]" if ":" in host else host, query="", fragment="").geturl()
