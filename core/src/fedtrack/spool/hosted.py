"""Hosted payloads: a record with the name of its site, for the spools that sites share.

Each is ``[10, name, payload]`` in msgpack. So each frame has all that is needed to read it, and damage to one frame
can never put the metric of another one under the wrong site.
"""

from __future__ import annotations

import msgspec

from fedtrack.tracking.records import HOSTED_KIND

_THREE_ITEMS = 0x93


def prefix(site: str) -> bytes:
    """Return the first bytes of the payloads of a site's records."""
    return bytes((_THREE_ITEMS, HOSTED_KIND)) + msgspec.msgpack.encode(site)


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
        return None  # an invalid payload must not stop the stream
