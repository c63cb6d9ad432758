"""What a site and the server say to each other: msgpack of typed structures inside FLARE's own messages.

The site sends frames as they lie in its spool; the server checks them, stores them and answers with the highest
number that is on its disk. That answer is the only acknowledgement: FLARE's own return codes say nothing about it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

#: FLARE's topic for these messages, and the key of their bytes in its Shareable.
TOPIC, PAYLOAD = "fedtrack.events", "fedtrack"

#: The most bytes of frames or of a file in one message; FLARE was fastest between 100 kB and 1 MB.
MAX_BATCH = 1024 * 1024


class Hello(msgspec.Struct, tag="hello", forbid_unknown_fields=True):
    """Site: here I am; how far are you with my streams."""

    run_id: str


class Frames(msgspec.Struct, tag="frames", forbid_unknown_fields=True):
    """Site: consecutive records of one stream.

    Attributes:
        run_id: The run.
        stream: The stream's id, 32 hex digits.
        after: What the site takes to be the server's high-water mark of the stream.
        lost: How many numbers between that mark and the first frame were delivered once, deleted here, and are
            unknown to the server now.
        first: Number of the first frame.
        last: Number of the last one.
        count: How many frames.
        body: The frames.
    """

    run_id: str
    stream: str
    after: int
    lost: int
    first: int
    last: int
    count: int
    body: bytes


class FilePart(msgspec.Struct, tag="file", forbid_unknown_fields=True):
    """Site: a piece of a value that is kept in a file; sent before the record that refers to it."""

    run_id: str
    sha256: str
    size: int
    offset: int
    data: bytes


class Damage(msgspec.Struct, tag="damage", forbid_unknown_fields=True):
    """Site: bytes of a spool file are no records."""

    run_id: str
    stream: str
    size: int
    reason: str


class Bye(msgspec.Struct, tag="bye", forbid_unknown_fields=True):
    """Site: this is everything.

    Attributes:
        run_id: The run.
        final: The last number of each stream.
        logged: Events whose log call returned, as the script's process counted them; None if it died before.
        dropped: Log calls that found no room on the site's disk.
        error: Why the site's script failed, or "".
    """

    run_id: str
    final: dict[str, int]
    logged: int | None
    dropped: int
    error: str = ""


FromSite: TypeAlias = Hello | Frames | FilePart | Damage | Bye

#: ``stored`` and ``duplicate``: on the server's disk up to ``stored_upto``. ``gap``: the server has less than the
#: site took it to have; send again from ``stored_upto`` on. ``busy``: keep it, try later. ``rejected``: the server
#: will never take it; keep it, and stop sending this stream.
Verdict: TypeAlias = Literal["stored", "duplicate", "gap", "busy", "rejected"]


class Ack(msgspec.Struct, forbid_unknown_fields=True):
    """Server: what became of a message.

    Attributes:
        verdict: See ``Verdict``.
        stored_upto: The stream's high-water mark; for a file, how many of its bytes are there.
        retry_after: Seconds to wait before trying again.
        reason: Why, if it was not stored.
        marks: After a hello, the high-water mark of each of the site's streams.
    """

    verdict: Verdict
    stored_upto: int = 0
    retry_after: float = 0.0
    reason: str = ""
    marks: dict[str, int] = {}


encode = msgspec.msgpack.Encoder().encode
decode_from_site: msgspec.msgpack.Decoder[FromSite] = msgspec.msgpack.Decoder(FromSite)
decode_ack: msgspec.msgpack.Decoder[Ack] = msgspec.msgpack.Decoder(Ack)
