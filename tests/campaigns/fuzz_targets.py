"""The readers of bytes from other processes, each with the law that must hold for any bytes."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import numpy as np

from fedtrack.errors import DamagedError, ModelError
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.hosted import unwrap
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import Artifact, BlobRef, Control, Gap, Metric, Text, decode, encode
from fedtrack.transport import wire
from fedtrack.transport.intake import Intake
from fedtrack_local.models.params import layout_of, load_metadata, load_params, save_params
from fedtrack_local.processes import messages

STREAM = "0123456789abcdef0123456789abcdef"
SALT = frames.salt_of(STREAM)


class Target(NamedTuple):
    """A reader of bytes: a check that raises if a law is broken, and inputs to begin with."""

    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


@cache
def folder() -> Path:
    """Return a folder for files, which is gone with the process."""
    made = Path(tempfile.mkdtemp(prefix="fedtrack-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


# Frames: whatever is in a file, every byte is a record's or is reported, and nothing is invented.


BODY = b"".join(frames.frame(n, encode(Metric(n, "loss", n / 8, n)), SALT) for n in range(1, 13))
WHOLE = frames.header(bytes.fromhex(STREAM), 1, 0) + BODY
GENUINE = dict(frames.split(BODY))


def check_scan(data: bytes) -> None:
    """Scan bytes as they come."""
    with contextlib.suppress(DamagedError):
        frames.read_header(data)
    for final in (True, False):
        found = frames.scan(data, SALT, previous=0, after_seq=0, final=final)
        position = last = 0
        for part in found.parts:
            if isinstance(part, frames.Damage):
                assert part.start == position < part.end
                position = part.end
                continue
            assert data[position : position + len(part.body)] == part.body
            position += len(part.body)
            numbers = [seq for seq, _ in frames.split(part.body)]
            assert (numbers[0], numbers[-1], len(numbers)) == (part.first, part.last, part.count)
            assert numbers == sorted(set(numbers))
            assert numbers[0] > last
            last = numbers[-1]
            again = frames.scan(part.body, SALT, previous=0, after_seq=0, final=True)
            assert again.parts == [part]
            middle = numbers[len(numbers) // 2]
            first, count, body = frames.tail(part.body, middle)
            assert count == sum(seq > middle for seq in numbers)
            assert part.body.endswith(body)
            assert first > middle or not count
        assert position == found.consumed <= len(data)
        assert position == len(data) or not final
        frames.is_cut_short(data[position:])


def check_damaged_stream(data: bytes) -> None:
    """Change a genuine stream as the input says: records may be missing, and none is altered or invented."""
    damaged = bytearray(WHOLE)
    for index in range(0, len(data) - 3, 4):
        position = int.from_bytes(data[index : index + 2], "little") % max(len(damaged), 1)
        match data[index + 2] % 4:
            case 0:
                damaged[position : position + 1] = bytes((data[index + 3],))
            case 1:
                del damaged[position : position + data[index + 3]]
            case 2:
                damaged[position:position] = damaged[position : position + data[index + 3]]
            case 3:
                damaged[position:position] = data[index:]
    found = frames.scan(bytes(damaged), SALT, previous=0, after_seq=0, final=True)
    for part in found.parts:
        if isinstance(part, frames.FrameRange):
            for seq, payload in frames.split(part.body):
                assert GENUINE.get(seq) == payload, f"record {seq} was altered or invented"


# Records, also those that a process wraps for one of its sites.


def check_record(data: bytes) -> None:
    """Decode a payload: a record, which is what it says, or one kind of error."""
    hosted = unwrap(memoryview(data))
    if hosted is not None:
        site, rest = hosted
        assert data.endswith(bytes(rest))
        site.encode()
        check_record(bytes(rest))
    try:
        record = decode(data)
    except msgspec.DecodeError:
        return
    if type(record) is Control:
        return  # one of a kind that nobody here can write
    again = encode(record)
    assert encode(decode(again)) == again


def record_seeds() -> list[bytes]:
    spool = SharedSpool(folder() / "spool")
    spool.enter("site-1")
    wrapped = spool._encode(Metric(1, "loss", 0.5))
    text = Text(1, "notes", BlobRef("ab" * 32, 40_000), 3)
    others = (Metric(1, "loss", float("nan"), 3), text, Artifact(1, "a/b", b"data"), Gap(1, 3, "full"))
    return [wrapped, *map(encode, others)]


# Control messages.


def check_messages(data: bytes) -> None:
    """Decode a message as every side would: typed, or an error that ends the one who sent it."""
    for decoder in (
        messages.decode_to_site,
        messages.decode_to_worker,
        messages.decode_from_site,
        messages.decode_to_fork_server,
        messages.decode_exited,
    ):
        try:
            found = decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        assert type(found).__module__ == messages.__name__


def message_seeds() -> list[bytes]:
    results = [messages.SiteResult("a", {"m": 1.0})]
    return [
        messages.encode(messages.SendResult(1, True, "FULL", {"a": 0.5}, {"NUM_STEPS_CURRENT_ROUND": 50})),
        messages.encode(messages.SitesDone(1, 0, results, averaged=True, logged={"a": 3})),
        messages.encode(messages.SendTask(1, "train", True, 0, 1, 2, {"k": [1, None]})),
        messages.encode(messages.Exited("site-1", -9)),
    ]


# What sites send to a server: each of its messages, as bytes from another machine.


RUN, SITE = "study-7", "hospital-a"


@cache
def intake() -> tuple[Intake, Journal]:
    """Return an intake whose journal is on the disk of this process."""
    journal = Journal(folder() / "journal.db")
    journal.database.writer.execute("PRAGMA synchronous = OFF")  # what is fuzzed is not the disk
    return Intake(RUN, journal, BlobStore(folder() / "blobs")), journal


def check_intake(data: bytes) -> None:
    """Take a message: an answer, never an exception; and whatever it claims, the site is that of the connection."""
    taker, journal = intake()
    before = journal.high_waters(SITE)
    answer = wire.decode_ack.decode(taker.handle(SITE, data))
    assert answer.verdict in get_args(wire.Verdict)
    assert 0 <= answer.retry_after <= 60
    assert len(answer.reason) <= 600
    after = journal.high_waters(SITE)
    assert all(after[stream] >= mark for stream, mark in before.items())
    if answer.verdict in ("rejected", "unknown", "busy"):
        assert after == before
    assert {stored.site for stored in journal.streams()} <= {SITE}
    if len(after) > 500:  # the next ones begin with an empty journal
        intake.cache_clear()
        journal.close()
        for path in folder().glob("journal.db*"):
            path.unlink()


def intake_seeds() -> list[bytes]:
    data = b"content" * 100
    digest = hashlib.sha256(data).hexdigest()
    frames_ = wire.Frames(RUN, STREAM, 0, 0, 1, 12, 12, BODY, 3)
    found = [
        wire.Hello(RUN, 2),
        frames_,
        msgspec.structs.replace(frames_, after=12, first=13, last=24),
        msgspec.structs.replace(frames_, run_id="another"),
        wire.FilePart(RUN, digest, len(data), 0, data),
        wire.FilePart(RUN, digest, len(data), 350, data[350:]),
        wire.Damage(RUN, STREAM, 70, "a bad disk", "damaged", 3, 4, 6),
        wire.Bye(RUN, {STREAM: 12}, 12, 0, "", counts={STREAM: Counts(1, 2, 3)}, chain=b"c" * 32),
    ]
    claims = {"type": "hello", "run_id": RUN, "site": "hospital-b", "version": 2, "streams": {"x": 2**64 - 1}}
    return [*map(wire.encode, found), msgspec.msgpack.encode(claims), msgspec.msgpack.encode([claims] * 3)]


# Model files.


def check_model(data: bytes) -> None:
    """Read a model file: tensors that lie inside it, or one kind of error."""
    path = folder() / "model.safetensors"
    path.write_bytes(data)
    try:
        layout = layout_of(path)
        metadata = load_metadata(path)
        arrays = load_params(path)
    except ModelError:
        return
    assert list(layout) == list(arrays)
    assert all(isinstance(text, str) for item in metadata.items() for text in item)
    for name, array in arrays.items():
        assert array.shape == layout[name].shape
        assert 0 <= layout[name].start <= layout[name].start + array.nbytes <= len(data)
        array.tobytes()  # every byte of it can be read


def model_seeds() -> list[bytes]:
    path = folder() / "seed.safetensors"
    params = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.int64(7), "empty": np.zeros((0, 2), np.uint8)}
    save_params(params, path, {"key": "text"})
    return [path.read_bytes()]


TARGETS = {
    "scan": Target(check_scan, lambda: [WHOLE, BODY, WHOLE[:-5]]),
    "damaged stream": Target(
        check_damaged_stream, lambda: [bytes(range(40)), b"\x40\0\0\xff" * 3, b"\x60\0\2\x80" * 2]
    ),
    "record": Target(check_record, record_seeds),
    "message": Target(check_messages, message_seeds),
    "intake": Target(check_intake, intake_seeds),
    "model": Target(check_model, model_seeds),
}
