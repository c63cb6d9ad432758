"""Chain: one hash over all records of a stream, which any change, gap or other order of them changes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def start(site: str, stream: str) -> bytes:
    """Return the head of the chain of a stream without records."""
    return sha256(b"fedtrack chain 1\0" + site.encode() + b"\0" + bytes.fromhex(stream)).digest()


def extended(head: bytes, records: Iterable[tuple[int, bytes | memoryview]]) -> bytes:
    """Return the head after further (number, payload) of the stream: ``sha256(head, number as u64, payload)`` each."""
    for seq, payload in records:
        head = sha256(head + seq.to_bytes(8, "little") + payload).digest()
    return head
