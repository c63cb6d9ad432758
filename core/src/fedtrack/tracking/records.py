"""The kinds of record that a training script can log, and their encoding.

A record is normalised once, by the writer that the script calls; every receiver understands these kinds and
no dialect. On disk and on the wire a record is a msgpack array ``[kind, time_ns, ...fields]``: no type name,
no object, nothing that a reader would have to trust (JSON would turn NaN and infinities into null).

Fields are only ever added at the end, with a default; a kind's number is never reused.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class BlobRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value too large for a frame, kept in a content-addressed file beside the spool.

    Attributes:
        sha256: Hex digest of the content; also the file's name.
        size: Length in bytes.
    """

    sha256: str
    size: int


# gc=False, here and in every kind: a record refers to no container that could refer back to it.
class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What every kind of record starts with.

    Attributes:
        time_ns: The site's wall clock at the log call, nanoseconds since the Unix epoch. Receivers keep it;
            order and deduplication never depend on it.
    """

    time_ns: int


class Metric(Record, frozen=True, array_like=True, gc=False, tag=1):
    """One scalar.

    Attributes:
        key: Name, as the script wrote it.
        value: A float64; NaN and infinities are legal values.
        step: The script's step (its own unit: batches, epochs), or None if it gave none.
    """

    key: str
    value: float
    step: int | None = None


class Param(Record, frozen=True, array_like=True, gc=False, tag=2):
    """A hyperparameter: set once, not a series."""

    key: str
    value: str | int | float | bool | None


class Tag(Record, frozen=True, array_like=True, gc=False, tag=3):
    """A label on the site's run; a later value for the same key replaces the earlier one."""

    key: str
    value: str


class Text(Record, frozen=True, array_like=True, gc=False, tag=4):
    """A piece of text, shown under its key (an artifact path for backends that keep files)."""

    key: str
    text: str | BlobRef
    step: int | None = None


class Image(Record, frozen=True, array_like=True, gc=False, tag=5):
    """An encoded image.

    Attributes:
        data: The file's bytes, or where they are.
        format: ``"png"`` or ``"jpeg"``.
    """

    key: str
    data: bytes | BlobRef
    step: int | None = None
    format: str = "png"


class Histogram(Record, frozen=True, array_like=True, gc=False, tag=6):
    """Counts over buckets.

    Attributes:
        edges: ``len(counts) + 1`` ascending bucket edges.
        counts: How many values fell into each bucket.
    """

    key: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    step: int | None = None


class Artifact(Record, frozen=True, array_like=True, gc=False, tag=7):
    """A file.

    Attributes:
        path: Relative path under which a backend shows the file, ``/``-separated.
        data: The file's bytes, or where they are.
    """

    path: str
    data: bytes | BlobRef


class Rejected(Record, frozen=True, array_like=True, gc=False, tag=8):
    """A log call that could not be turned into a record, kept so that it is counted and not silent.

    Attributes:
        key: The key the script gave, shortened and made printable.
        reason: Why it was refused, with the value.
    """

    key: str
    reason: str


class Gap(Record, frozen=True, array_like=True, gc=False, tag=9):
    """Events that were lost, counted: a full disk, a spool limit, damaged bytes.

    Attributes:
        count: How many log calls (or damaged bytes, as the reason says).
        reason: Why.
    """

    count: int
    reason: str


AnyRecord: TypeAlias = Metric | Param | Tag | Text | Image | Histogram | Artifact | Rejected | Gap

#: The kinds that a script can log and a receiver can support, by the name that listings print.
KINDS: dict[str, type[Record]] = {
    "metric": Metric,
    "param": Param,
    "tag": Tag,
    "text": Text,
    "image": Image,
    "histogram": Histogram,
    "artifact": Artifact,
}

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyRecord] = msgspec.msgpack.Decoder(AnyRecord)

#: Encode a record into a frame's payload.
encode = _encoder.encode


def decode(payload: bytes | memoryview) -> AnyRecord:
    """Decode a frame's payload.

    Raises:
        msgspec.DecodeError: The bytes are no record (msgspec.ValidationError is a subclass).
    """
    try:
        return _decoder.decode(payload)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these two through
        raise msgspec.DecodeError(f"{type(error).__name__}: {error}") from None


def kind_of(record: Record) -> str:
    """Return the record's kind as listings print it, such as ``"metric"``."""
    return type(record).__name__.lower()


#: A kind's number, which is the second byte of a payload: for those who look at payloads without decoding them.
TEXT_KIND, IMAGE_KIND, ARTIFACT_KIND, REJECTED_KIND, GAP_KIND = (
    int(str(kind.__struct_config__.tag)) for kind in (Text, Image, Artifact, Rejected, Gap)
)
#: In the place of a kind: ``[10, site, payload]``, a record in a spool that sites share.
HOSTED_KIND = 10
#: The kinds of record that may refer to a blob.
KINDS_WITH_BLOBS = frozenset((TEXT_KIND, IMAGE_KIND, ARTIFACT_KIND))
