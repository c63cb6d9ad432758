"""Version 1 of the wire: messages for a server that knows no later one, and refuses unknown fields and records."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from fedtrack.spool import frames
from fedtrack.tracking.records import is_control
from fedtrack.transport.wire import Bye, Damage, Frames, FromSite, Hello

#: The fields that version 1 does not have.
_LATER_FIELDS: dict[type, tuple[str, ...]] = {
    Hello: ("version",),
    Frames: ("round",),
    Damage: ("kind", "count", "first", "last"),
    Bye: ("withheld", "rejected", "counts", "chain"),
}

_M = TypeVar("_M", bound=FromSite)


def in_version_1(message: _M) -> _M:
    """Return a message without the fields that version 1 does not know; a field at its default is not sent."""
    later = _LATER_FIELDS.get(type(message), ())
    defaults: dict[str, Any] = {}
    for field in msgspec.structs.fields(message):
        if field.name in later:
            defaults[field.name] = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return msgspec.structs.replace(message, **defaults)


def without_control_records(stream: str, run: frames.FrameRange) -> frames.FrameRange | None:
    """Return a run without its control records, because version 1 refuses a stream with a single one.

    Numbers may have holes. Events of later kinds stay: version 1 refuses them, and they are kept at the site.

    Returns:
        None if the run has only control records.
    """
    kept = [(seq, payload) for seq, payload in frames.split(run.body) if not is_control(payload)]
    if len(kept) == run.count:
        return run
    if not kept:
        return None
    salt = frames.salt_of(stream)
    body = b"".join(frames.frame(seq, bytes(payload), salt) for seq, payload in kept)
    return frames.FrameRange(kept[0][0], kept[-1][0], len(kept), body)
