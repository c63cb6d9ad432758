"""Wire: recorded messages of both versions are read exactly; a server and a site of different versions talk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import Metric
from fedtrack.tracking.records import encode as encode_record
from fedtrack.transport.intake import Intake
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.version_1 import in_version_1
from fedtrack.transport.wire import (
    Ack,
    Bye,
    Damage,
    FilePart,
    Frames,
    FromSite,
    Hello,
    decode_ack,
    decode_from_site,
    encode,
)
from support.shipping import RUN, log, steps

DATA = Path(__file__).parents[2] / "data"
STREAM = "0123456789abcdef0123456789abcdef"
RUN_ID = "golden"


def _body(*further: object) -> bytes:
    """Return two frames of metrics with the fields of format 1, and ``further`` ones behind them."""
    salt = frames.salt_of(STREAM)
    metrics = {seq: [1, 1_700_000_000_000_000_000 + seq, "train/loss", seq / 8, seq, *further] for seq in (1, 2)}
    return b"".join(frames.frame(seq, msgspec.msgpack.encode(metric), salt) for seq, metric in metrics.items())


VERSION_1: dict[str, FromSite] = {
    "hello": Hello(RUN_ID),
    "frames": Frames(RUN_ID, STREAM, 0, 0, 1, 2, 2, _body()),
    "file": FilePart(RUN_ID, "ab" * 32, 40_000, 0, b"the first bytes"),
    "damage": Damage(RUN_ID, STREAM, 40, "40 damaged bytes"),
    "bye": Bye(RUN_ID, {STREAM: 2}, 2, 1, "a reason"),
}
VERSION_2: dict[str, FromSite] = {
    "hello": Hello(RUN_ID, 2),
    "frames": Frames(RUN_ID, STREAM, 0, 0, 1, 2, 2, _body(None), 7),
    "file": FilePart(RUN_ID, "ab" * 32, 40_000, 0, b"the first bytes"),
    "damage": Damage(RUN_ID, STREAM, 0, "records 3 to 5 are gone", "missing", 3, 3, 5),
    "bye": Bye(RUN_ID, {STREAM: 2}, 2, 3, "a reason", 2, 1, {STREAM: Counts(3, 2, 1)}, b"\1\2"),
}
ANSWERS = {
    "ack-stored": Ack("stored", 2),
    "ack-hello": Ack("stored", marks={STREAM: 2}),
    "ack-gap": Ack("gap", 1, reason="the server has 1, not 2"),
    "ack-busy": Ack("busy", retry_after=0.5, reason="too many messages at once"),
    "ack-rejected": Ack("rejected", reason="no valid piece of a file"),
}
ANSWERS_2 = ANSWERS | {
    "ack-hello": Ack("stored", marks={STREAM: 2}, version=2),
    "ack-unknown": Ack("unknown", reason="version 2 of the wire has no message 'seal'; upgrade the server", version=2),
}


def golden(version: int, name: str) -> bytes:
    return bytes.fromhex((DATA / f"format-{version}" / "wire" / f"{name}.hex").read_text())


@pytest.mark.parametrize("name", VERSION_1)
def test_messages_of_version_1_are_read_exactly(name: str) -> None:
    assert decode_from_site(golden(1, name)) == VERSION_1[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_version_1_are_read_exactly(name: str) -> None:
    assert decode_ack.decode(golden(1, name)) == ANSWERS[name]


@pytest.mark.parametrize("name", VERSION_2)
def test_messages_of_version_2_are_read_and_written_byte_for_byte(name: str) -> None:
    assert decode_from_site(golden(2, name)) == VERSION_2[name]
    assert encode(VERSION_2[name]) == golden(2, name)


@pytest.mark.parametrize("name", ANSWERS_2)
def test_answers_of_version_2_are_read_and_written_byte_for_byte(name: str) -> None:
    assert decode_ack.decode(golden(2, name)) == ANSWERS_2[name]
    assert encode(ANSWERS_2[name]) == golden(2, name)


# Version 1, as it was: it refuses every field that it does not know.


class Hello1(msgspec.Struct, tag="hello", forbid_unknown_fields=True):
    run_id: str


class Frames1(msgspec.Struct, tag="frames", forbid_unknown_fields=True):
    run_id: str
    stream: str
    after: int
    lost: int
    first: int
    last: int
    count: int
    body: bytes


class FilePart1(msgspec.Struct, tag="file", forbid_unknown_fields=True):
    run_id: str
    sha256: str
    size: int
    offset: int
    data: bytes


class Damage1(msgspec.Struct, tag="damage", forbid_unknown_fields=True):
    run_id: str
    stream: str
    size: int
    reason: str


class Bye1(msgspec.Struct, tag="bye", forbid_unknown_fields=True):
    run_id: str
    final: dict[str, int]
    logged: int | None
    dropped: int
    error: str = ""


class Ack1(msgspec.Struct, forbid_unknown_fields=True):
    verdict: Literal["stored", "duplicate", "gap", "busy", "rejected"]
    stored_upto: int = 0
    retry_after: float = 0.0
    reason: str = ""
    marks: dict[str, int] = {}


_decode_1 = msgspec.msgpack.Decoder(Hello1 | Frames1 | FilePart1 | Damage1 | Bye1).decode
_decode_ack_1 = msgspec.msgpack.Decoder(Ack1).decode


@pytest.fixture
def intake(journal: Journal, tmp_path: Path) -> Intake:
    return Intake(RUN_ID, journal, BlobStore(tmp_path / "blobs"))


def test_a_site_of_version_1_is_understood_and_understands_the_answers(intake: Intake, journal: Journal) -> None:
    expected = {"hello": "stored", "frames": "stored", "file": "stored", "damage": "stored", "bye": "stored"}
    found = {name: _decode_ack_1(intake.handle("site-1", golden(1, name))).verdict for name in expected}
    assert found == expected
    assert _decode_ack_1(intake.handle("site-1", golden(1, "frames"))) == Ack1("duplicate", 2)
    assert _decode_ack_1(intake.handle("site-1", golden(1, "hello"))) == Ack1("stored", marks={STREAM: 2})
    assert _decode_ack_1(intake.handle("site-1", b"garbage")).verdict == "rejected"
    assert (journal.counts(), journal.read(0)[0].round) == ({"site-1": 2}, None)
    assert intake.has_everything_of("site-1")


@pytest.mark.parametrize("name", VERSION_2)
def test_what_is_said_to_a_server_of_version_1_is_what_it_knows(name: str) -> None:
    message = _decode_1(encode(in_version_1(VERSION_2[name])))
    for field in msgspec.structs.fields(message):
        assert getattr(message, field.name) == getattr(VERSION_2[name], field.name)


class OldServer:
    """A server of version 1: its answers to what this version sends."""

    def __init__(self) -> None:
        self.mark, self.answers = 0, list[bytes]()
        self.records: list[tuple[int, bytes]] = []
        self.bye: Bye1 | None = None

    def call(self, message: FromSite) -> Ack:
        try:
            said = _decode_1(encode(message))
        except msgspec.ValidationError as error:
            return decode_ack.decode(encode(Ack1("rejected", reason=str(error))))
        answer = Ack1("stored", self.mark)
        if isinstance(said, Frames1):
            for seq, payload in frames.split(said.body):
                if payload[1] > 9:
                    return decode_ack.decode(encode(Ack1("rejected", reason=f"kind {payload[1]}")))
                self.records.append((seq, bytes(payload)))
            self.mark = answer.stored_upto = said.last
        elif isinstance(said, Bye1):
            self.bye = said
            answer = Ack1("stored" if all(last <= self.mark for last in said.final.values()) else "gap")
        return decode_ack.decode(encode(answer))


def test_a_server_of_version_1_gets_everything_but_what_it_does_not_know(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    log(spool, 5)
    spool.close()
    (path,) = spool.folder.glob("*.spool")
    salt = frames.salt_of(spool.stream)
    mark = b"\x93\x20\x01\x02"  # a round mark, before and after more events
    with path.open("ab") as file:
        file.write(frames.frame(6, mark, salt))
        file.write(frames.frame(7, encode_record(Metric(0, "loss", 5.0, 5)), salt))
        file.write(frames.frame(8, mark, salt))
    server = OldServer()
    shipper = SpoolShipper(spool.folder, RUN, server.call)
    assert shipper.finish(lambda final: Bye(RUN, final, 6, 1, withheld=2, counts={spool.stream: Counts(1, 2, 0)}), 5.0)
    assert shipper.version == 1
    assert [seq for seq, _ in server.records] == [1, 2, 3, 4, 5, 7]
    assert (server.bye, shipper.rejected) == (Bye1(RUN, {spool.stream: 7}, 6, 1), {})


def test_a_server_of_version_1_never_acknowledges_an_event_that_it_does_not_know(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    log(spool, 2)
    spool.close()
    (path,) = spool.folder.glob("*.spool")
    with path.open("ab") as file:
        file.write(frames.frame(3, b"\x93\x1f\x01\x02", frames.salt_of(spool.stream)))
    shipper = SpoolShipper(spool.folder, RUN, OldServer().call)
    assert not shipper.finish(lambda final: Bye(RUN, final, None, 0), 5.0)
    assert list(shipper.rejected) == [spool.stream]
    assert path.exists()  # for the day when the server is upgraded


def test_two_of_version_2_speak_it(tmp_path: Path, journal: Journal) -> None:
    intake = Intake(RUN, journal, BlobStore(tmp_path / "blobs"))
    spool = Spool(tmp_path / "spool")
    log(spool, 5)
    spool.close()
    shipper = SpoolShipper(
        spool.folder, RUN, lambda message: decode_ack.decode(intake.handle("site-1", encode(message)))
    )
    assert shipper.finish(lambda final: Bye(RUN, final, 5, 0), 5.0)
    assert (shipper.version, steps(journal)) == (2, list(range(5)))
