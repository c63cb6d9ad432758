"""Channel: a process's connection to the server, for those who only send."""

from __future__ import annotations

from typing import Protocol


class Channel(Protocol):
    """A process's connection to the server."""

    def send_bytes(self, data: bytes) -> None:
        """Send an encoded message."""
