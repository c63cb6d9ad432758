"""Wire: the messages between a site and the server: typed structures as msgpack, over any carrier.

The site sends the frames of its spool unchanged. The server checks them, stores them and answers with the highest
number that is on its disk. That answer is the only acknowledgement: the carrier's own return codes mean nothing. Both
sides ignore fields that they do not know; docs/formats.md describes how the two versions talk.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from fedtrack.errors import FedtrackError
from fedtrack.tracking.counts import Counts

#: The version of the wire that this version of fedtrack speaks.
VERSION = 2

#: The topic of these messages, and the key of their bytes, if a carrier needs names.
TOPIC, PAYLOAD = "fedtrack.events", "fedtrack"

#: The most bytes of frames or of a file in one message; FLARE was fastest between 100 kB and 1 MB.
MAX_BATCH = 1024 * 1024


class UnknownMessageError(FedtrackError):
    """A message of a kind that this version does not know."""


# Fields are only added at the end, with a default, which is not sent: version 1 refuses fields that it does not know.
class _Message(msgspec.Struct, omit_defaults=True):
    pass


class Hello(_Message, tag="hello"):
    """Site: the first message; it asks for the high-water marks of the site's streams.

    Attributes:
        run_id: The run.
        version: The newest version that the site speaks; not sent in version 1.
    """

    run_id: str
    version: int = 1


class Frames(_Message, tag="frames"):
    """Site: consecutive records of one stream.

    Attributes:
        run_id: The run.
        stream: The stream's id, 32 hex digits.
        after: The site's value of the server's high-water mark.
        lost: How many numbers between that mark and the first frame are lost: they were delivered and deleted here,
            and the server does not have them any more.
        first: Number of the first frame.
        last: Number of the last frame.
        count: The number of frames.
        body: The frames.
        round: The round in which they were logged, counted from 0; None if it is unknown. Since version 2.
    """

    run_id: str
    stream: str
    after: int
    lost: int
    first: int
    last: int
    count: int
    body: bytes
    round: int | None = None


class FilePart(_Message, tag="file"):
    """Site: a piece of a value that is kept in a file; sent before the record that refers to it."""

    run_id: str
    sha256: str
    size: int
    offset: int
    data: bytes


class Damage(_Message, tag="damage"):
    """Site: a part of a stream will never arrive.

    Attributes:
        run_id: The run.
        stream: The stream's id.
        size: How many bytes of a spool file are not records.
        reason: The cause, as a text for people.
        kind: One of ``journal.gaps.GapKind``. Since version 2, like the following fields.
        count: How many events were lost; None if that is not known.
        first: Number of the first lost event; None if that is not known.
        last: Number of the last lost event; None if that is not known.
    """

    run_id: str
    stream: str
    size: int
    reason: str
    kind: str = "damaged"
    count: int | None = None
    first: int | None = None
    last: int | None = None


class LogPart(_Message, tag="log"):
    """Site: a piece of its release log, behind what the server has of it. Since version 2, and no server needs it."""

    run_id: str
    offset: int
    data: bytes


class Bye(_Message, tag="bye"):
    """Site: there are no further records.

    Attributes:
        run_id: The run.
        final: The last number of each stream.
        logged: Events whose log call returned, as the script's process counted them; None if it died before.
        dropped: Log calls that were dropped, because the site's disk or spool was full.
        error: Why the site's script failed, or "".
        withheld: Log calls that the site's policy keeps at the site. Since version 2, like the following fields.
        rejected: Log calls whose value fits no record.
        counts: The log calls that became no event, by stream; None if they are not known.
        chain: Head of the chain over the site's records, for a site that keeps one.
    """

    run_id: str
    final: dict[str, int]
    logged: int | None
    dropped: int
    error: str = ""
    withheld: int = 0
    rejected: int = 0
    counts: dict[str, Counts | None] = {}
    chain: bytes | None = None


FromSite: TypeAlias = Hello | Frames | FilePart | Damage | LogPart | Bye

#: ``stored`` and ``duplicate``: the server's disk has everything up to ``stored_upto``. ``gap``: the server has less
#: than the site assumed; send again from ``stored_upto`` on. ``busy``: keep the records, try later. ``rejected``: the
#: server will never take them; keep them, and stop sending this stream. ``unknown``: the server does not know this kind
#: of message, and ``version`` is its version; only an answer to messages that version 1 does not have.
Verdict: TypeAlias = Literal["stored", "duplicate", "gap", "busy", "rejected", "unknown"]


class Ack(_Message):
    """Server: the result of a message.

    Attributes:
        verdict: See ``Verdict``.
        stored_upto: The stream's high-water mark; for a file, how many of its bytes are there.
        retry_after: Seconds to wait before trying again.
        reason: Why the message was not stored, or "".
        marks: After a hello, the high-water mark of each of the site's streams.
        version: After a hello of version 2 or later, the version that the server speaks. Since version 2.
        receipt: After a piece of a release log, the server's signature of all that it has of the log: the public key
            and the signature in hex, with a colon between them; "" if the server has no key. Since version 2.
    """

    verdict: Verdict
    stored_upto: int = 0
    retry_after: float = 0.0
    reason: str = ""
    marks: dict[str, int] = {}
    version: int = 1
    receipt: str = ""


encode = msgspec.msgpack.Encoder().encode
decode_ack: msgspec.msgpack.Decoder[Ack] = msgspec.msgpack.Decoder(Ack)
_decoder: msgspec.msgpack.Decoder[FromSite] = msgspec.msgpack.Decoder(FromSite)

_KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in (Hello, Frames, FilePart, Damage, LogPart, Bye))


def decode_from_site(data: bytes) -> FromSite:
    """Decode one message of a site.

    Raises:
        UnknownMessageError: The message is of a kind that only a newer version knows.
        msgspec.MsgspecError: The bytes are not a message.
    """
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError:
        tag = msgspec.msgpack.decode(data, type=_Tagged).type
        if tag in _KNOWN:
            raise
        raise UnknownMessageError(
            f"version {VERSION} of the wire has no message {tag[:64]!r}; upgrade the server"
        ) from None


class _Tagged(msgspec.Struct):
    type: str
