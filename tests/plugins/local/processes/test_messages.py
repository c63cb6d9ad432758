"""Messages: what is sent is what arrives, and nothing else is ever taken for one."""

from __future__ import annotations

import random
from typing import Any, get_args

import msgspec
import pytest

from fedtrack_local.processes.joining import CommandEnded, Join, Joined, Next, Taken
from fedtrack_local.processes.messages import (
    Build,
    Built,
    EndRun,
    Exited,
    FromSite,
    Kill,
    Preload,
    RunSites,
    SendResult,
    SendTask,
    SiteFailed,
    SiteLeft,
    SiteResult,
    SitesDone,
    SiteSpec,
    SkipTask,
    Spawn,
    SpawnWorker,
    ToForkServer,
    ToSite,
    ToWorker,
    WorkerSpec,
    decode_exited,
    decode_from_site,
    decode_to_fork_server,
    decode_to_site,
    decode_to_worker,
    encode,
)

#: What a script may put into ``FLModel.meta`` and the job into ``args``.
PLAIN: dict[str, Any] = {"é": [1, -(2**63), 2**64 - 1, 0.1, float("inf"), None, True, {"deep": b"\0"}]}

SITE = SiteSpec("s", "r", "a.py", ["-x", "é"], "c", "sp", "ex", "log", "numpy", [], {"A": "b"}, 2, PLAIN, "disk", 2**40)
WORKER = WorkerSpec("@w", "r", "a.py", "app", PLAIN, "c", "sp", "st", "p", "l", "pytorch", {}, 1, 10**4, "host", 2**40)

MESSAGES: list[tuple[Any, list[msgspec.Struct]]] = [
    (decode_to_site, [SendTask(1, "train", True, 0, None, 5, PLAIN, True), EndRun(), Joined(), Taken(2**22)]),
    (decode_to_worker, [RunSites(1, 2, "train", "m", "", [("a", 0), ("é", 9)], 3, None, PLAIN), EndRun()]),
    (
        decode_from_site,
        [
            Join(2**22, 1, 8),
            Next(3),
            CommandEnded(),
            SendResult(1, True, "DIFF", {"a": 0.5}, PLAIN),
            SkipTask(2),
            SitesDone(1, 2, [SiteResult("a", {"x": 1.0}, PLAIN), SiteResult("b", error="e", traceback="t")], True, {}),
            SiteFailed("e", "t"),
            SiteLeft(2**40, 1, ["ab" * 16]),
            Built(),
        ],
    ),
    (
        decode_to_fork_server,
        [
            Preload(["torch"]),
            Spawn(SITE),
            SpawnWorker(WORKER),
            Build("m", "a.py", "net", PLAIN, "t", "l"),
            Kill("a", 9),
        ],
    ),
    (decode_exited, [Exited("a", -9)]),
]


@pytest.mark.parametrize(("decoder", "messages"), MESSAGES)
def test_every_message_arrives_as_it_was_sent(decoder: Any, messages: list[msgspec.Struct]) -> None:
    assert [decoder.decode(encode(message)) for message in messages] == messages


def test_no_message_was_forgotten_here() -> None:
    tried = {type(message) for _, messages in MESSAGES for message in messages}
    assert tried == {
        Exited,
        *(kind for union in (ToSite, ToWorker, FromSite, ToForkServer) for kind in get_args(union)),
    }


@pytest.mark.parametrize(
    ("message", "decoder"),
    [
        (SendResult(1, False, None, None, {}), decode_to_site),
        (SendTask(1, "train", False, 0, 0, 1, {}), decode_from_site),
        (SitesDone(1, 0, [], False, {}), decode_to_worker),
        (RunSites(1, 0, "train", "", "", [], 0, 1, {}), decode_to_site),
        (EndRun(), decode_to_fork_server),
    ],
)
def test_a_message_of_another_direction_is_refused(message: Any, decoder: msgspec.msgpack.Decoder[Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(encode(message))


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `colour`"):
        decode_to_site.decode(msgspec.msgpack.encode({"type": "end", "colour": "red"}))


def test_a_message_that_was_changed_is_refused_or_typed() -> None:
    """Never anything but a message of ours or a decoding error, whichever bytes arrive."""
    message = encode(SendResult(1, True, "FULL", {"accuracy": 0.5}, {"NUM_STEPS_CURRENT_ROUND": 50}))
    source = random.Random(4)
    refused = 0
    for _ in range(5_000):
        data = bytearray(message)
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            found = decode_from_site.decode(bytes(data[: source.randrange(len(data) + 1)]))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            refused += 1
        else:
            assert isinstance(found, get_args(FromSite))
    assert refused > 2_500
