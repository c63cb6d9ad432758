"""The kinds of record that a training script can log, and their encoding.

A record is normalised once, by the writer that the script calls; every receiver understands these kinds and
no dialect. On disk and on the wire a record is a msgpack array ``[kind, time_ns, ...fields]``: no type name,
no object, nothing that a reader would have to trust (JSON would turn NaN and infinities into null).

Fields are only ever added at the end, with a default; a kind's number is never reused. Kinds from 32 up are control
records: they say something about the records beside them, are no event, and no receiver gets one. A reader passes over
those that it does not know.
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
        n: How many samples the value stands for, or None if the script did not say.
    """

    key: str
    value: float
    step: int | None = None
    n: int | None = None


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


class Control(Record, frozen=True, array_like=True, gc=False):
    """A record that is no event; as such also one of a kind that this version does not know."""


class RoundMark(Control, frozen=True, array_like=True, gc=False, tag=32):
    """The stream's records from here on belong to another round.

    Attributes:
        round: Counted from 0; None outside rounds.
    """

    round: int | None = None


class Direction(Control, frozen=True, array_like=True, gc=False, tag=33):
    """Which values of a metric are the good ones, as its script says.

    Attributes:
        key: The metric's name.
        better: ``"higher"`` or ``"lower"``.
    """

    key: str
    better: str


class TaskRecord(Control, frozen=True, array_like=True, gc=False, tag=34):
    """The server's record of a task: when each site was asked and answered, and what came back; columns by site.

    A task of many sites has several of these records, with different sites. When the task begins, there are some
    without answers; those of its end replace them. A later record about the same site and task replaces what it says.

    Attributes:
        task: ``train``, ``validate`` or ``submit_model``.
        round: The round, counted from 0; None outside rounds.
        step: The step under which the server logs the task's metrics; None if it logs none.
        sites: The sites that were asked. A site of the job that is in no record of a task was not asked.
        asked_ns: When the server gave them the task, by its clock in nanoseconds since the epoch.
        answered_ns: When it had the answer; 0 as long as there is none.
        sent: Bytes of parameters to each site.
        received: Bytes of parameters from each site; for sites whose worker averages, an equal share of the average.
        weights: The weight of each result; NaN if it has none.
        seconds: How long each site worked on the task, by its own clock; NaN if that is not known.
        metrics: By metric, the value that each site returned, or None.
        errors: By site, why it has no valid answer.
        ends: By stream, the number of the last record that its process had logged when it answered.
    """

    task: str
    round: int | None
    step: int | None
    sites: tuple[str, ...]
    asked_ns: tuple[int, ...]
    answered_ns: tuple[int, ...]
    sent: tuple[int, ...]
    received: tuple[int, ...]
    weights: tuple[float, ...]
    seconds: tuple[float, ...]
    metrics: dict[str, tuple[float | None, ...]]
    errors: dict[str, str]
    ends: dict[str, int]


class Withheld(Control, frozen=True, array_like=True, gc=False, tag=35):
    """Log calls that the policy of a site has kept, in a spool that sites share; or a record that an agent refused.

    Attributes:
        count: How many calls of the site in this stream were kept so far; 0 in the place of a refused record.
    """

    count: int = 0


Event: TypeAlias = Metric | Param | Tag | Text | Image | Histogram | Artifact | Rejected | Gap
AnyRecord: TypeAlias = Event | RoundMark | Direction | TaskRecord | Withheld

#: The kinds from here up are control records, known or not.
FIRST_CONTROL_KIND = 32

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


def is_control(payload: bytes | memoryview) -> bool:
    """Return whether a payload is a control record, of a known kind or not: ``[kind, ...]`` of at most 15 items."""
    return number_of(payload) >= FIRST_CONTROL_KIND


def number_of(payload: bytes | memoryview) -> int:
    """Return the number of a payload's kind without decoding it; -1 if it is no array that begins with one.

    Numbers from 128 up, of which no version has any, are all 128.
    """
    # 91 to 9f: an array of 1 to 15 items; 00 to 7f: a number that is its own byte; cc to cf: a larger one follows.
    if len(payload) < 2 or not 0x90 < payload[0] < 0xA0:
        return -1
    return payload[1] if payload[1] < 0x80 else 128 if 0xCC <= payload[1] <= 0xCF else -1


def decode(payload: bytes | memoryview) -> AnyRecord | Control:
    """Decode a frame's payload; a control record of a kind that this version does not know is a plain ``Control``.

    Raises:
        msgspec.DecodeError: The bytes are no record (msgspec.ValidationError is a subclass).
    """
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # msgspec lets the last two through
        if is_control(payload):
            return Control(0)
        if isinstance(error, msgspec.DecodeError):
            raise
        raise msgspec.DecodeError(f"{type(error).__name__}: {error}") from None


def kind_of(record: Record) -> str:
    """Return the record's kind as listings print it, such as ``"metric"``."""
    return type(record).__name__.lower()


#: A kind's number, which is the second byte of a payload: for those who look at payloads without decoding them.
TEXT_KIND, IMAGE_KIND, ARTIFACT_KIND, REJECTED_KIND, GAP_KIND = (
    int(str(kind.__struct_config__.tag)) for kind in (Text, Image, Artifact, Rejected, Gap)
)
WITHHELD_KIND = int(str(Withheld.__struct_config__.tag))
#: In the place of a kind: ``[10, site, payload]``, a record in a spool that sites share.
HOSTED_KIND = 10
#: The kinds of record that may refer to a blob.
KINDS_WITH_BLOBS = frozenset((TEXT_KIND, IMAGE_KIND, ARTIFACT_KIND))
