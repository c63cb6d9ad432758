"""Handshake: how a process of a site and the server make sure of each other before the first message.

The kernel says of which user the peer is. A process of the same user then shows the site's secret, which the server has
written into a file that only this user can read. Nothing else that it sends is read before.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import struct
import sys
from collections.abc import Mapping

_MAGIC = b"fedtrack"
_SECRET_BYTES = 32
#: The bytes of the first and only frame before the server's answer.
HELLO_BYTES = len(_MAGIC) + _SECRET_BYTES
WELCOME = b"+"

#: macOS: the option that says of which user a peer is, see unix(4); SO_PEERCRED on Linux.
_LOCAL_PEERCRED = 1


def new_secret() -> str:
    """Return a secret for a site, as hexadecimal digits."""
    return secrets.token_hex(_SECRET_BYTES)


def hello(secret: str) -> bytes:
    """Return what a process says first."""
    return _MAGIC + bytes.fromhex(secret)


def site_of(said: bytes, all_secrets: Mapping[str, str]) -> str | None:
    """Return the site whose secret was said; None if it is no site's. The time does not depend on what was said."""
    found = None
    for site, secret in all_secrets.items():
        if hmac.compare_digest(said, hello(secret)):
            found = site
    return found


def peer_of(connection: socket.socket) -> int:
    """Return the user id of the process at the other end of a Unix socket.

    Raises:
        OSError: The system does not say it.
    """
    if sys.platform == "darwin":
        credentials = connection.getsockopt(0, _LOCAL_PEERCRED, 8)
        return int(struct.unpack("II", credentials)[1])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def dial(address: str, secret: str) -> socket.socket:
    """Connect to the server at ``address``, and wait until it has accepted the secret.

    Raises:
        ConnectionError: There is no server, it belongs to another user, or it does not accept the secret.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address)
        if peer_of(connection) != os.geteuid():
            raise ConnectionError(f"the process behind {address} belongs to another user")
        connection.sendall(hello(secret))
        if connection.recv(1) != WELCOME:
            raise ConnectionError(f"the server at {address} does not take this process for one of the site")
    except OSError as error:
        connection.close()
        raise ConnectionError(
            (error.strerror and f"nobody answers at {address}: {error.strerror}") or str(error)
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection
