"""SharedSpool: one spool for the records of many sites that take turns in one process.

A file per site and process would cost more than the metrics of a short task. Each payload is wrapped with the name of
its site instead: ``[10, name, payload]`` in msgpack, so that a frame still stands for itself, and damage to one can
never put another one's metric under the wrong site.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import HOSTED_KIND, Record, encode

_THREE_ITEMS = 0x93


class SharedSpool(Spool):
    """A spool whose records belong to the site that was last entered; see Spool for the arguments."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self._encode = self._wrapped

    def enter(self, site: str) -> None:
        """Let all records from now on be those of ``site``, whichever thread logs them."""
        self._prefix = bytes((_THREE_ITEMS, HOSTED_KIND)) + msgspec.msgpack.encode(site)
        if isinstance(self._nested, SharedSpool):
            self._nested.enter(site)

    def _wrapped(self, record: Record) -> bytes:
        return self._prefix + encode(record)

    def _inner(self) -> Spool:
        inner = super()._inner()
        if isinstance(inner, SharedSpool):
            inner._prefix = self._prefix
        return inner


def unwrap(payload: memoryview) -> tuple[str, memoryview] | None:
    """Return the site and the record's own payload; None if the payload is not wrapped."""
    if len(payload) < 4 or payload[0] != _THREE_ITEMS or payload[1] != HOSTED_KIND:
        return None
    if payload[2] & 0xE0 == 0xA0:
        size, start = payload[2] & 0x1F, 3
    elif payload[2] == 0xD9:
        size, start = payload[3], 4
    else:
        return None
    end = start + size
    try:
        return (str(payload[start:end], "utf-8"), payload[end:]) if end <= len(payload) else None
    except UnicodeDecodeError:
        return None  # whatever a process writes, its stream goes on
