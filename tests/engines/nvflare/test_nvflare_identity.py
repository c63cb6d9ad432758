"""The sender of a message is known from its origin, not from its content."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.core_cell import Message, MessageHeaderKey

from fedtrack.transport.wire import PAYLOAD, TOPIC, decode_ack
from fedtrack_nvflare.identity import listen, site_of_origin

CLIENTS = [Client("site-1", "token-1"), Client("site-10", "token-10")]


@pytest.fixture
def answer() -> Callable[[Any], Any]:
    """Return what FLARE would call with an incoming message."""
    registered: dict[str, Callable[[Any], Any]] = {}

    def register(channel: str, topic: str, cb: Callable[[Any], Any]) -> None:
        registered[topic] = cb

    engine = SimpleNamespace(
        get_clients=lambda: CLIENTS, get_cell=lambda: SimpleNamespace(register_request_cb=register)
    )
    listen(engine, lambda site, data: b"from " + site.encode())
    return registered[TOPIC]


def message(origin: str | None, claimed: str, payload: object = b"data") -> Any:
    request = Shareable()
    request[PAYLOAD] = payload
    request.set_peer_props({ReservedKey.IDENTITY_NAME: claimed})
    return Message(headers={MessageHeaderKey.ORIGIN: origin}, payload=request)


def test_honest_site(answer: Callable[[Any], Any]) -> None:
    reply = answer(message("site-1.job-id", "site-1")).payload
    assert (reply.get_return_code(), reply[PAYLOAD]) == (ReturnCode.OK, b"from site-1")


@pytest.mark.parametrize(
    ("origin", "claimed"),
    [
        ("site-1.job-id", "site-10"),
        ("site-10.job-id", "site-1"),
        ("stranger.job-id", "site-1"),
        ("server.job-id", "site-1"),
        (None, "site-1"),
    ],
)
def test_site_in_another_name_is_refused(answer: Callable[[Any], Any], origin: str | None, claimed: str) -> None:
    ack = decode_ack.decode(answer(message(origin, claimed)).payload[PAYLOAD])
    assert ack.verdict == "rejected"
    assert claimed in ack.reason


def test_message_without_bytes(answer: Callable[[Any], Any]) -> None:
    assert answer(message("site-1.job-id", "site-1", 7)).payload.get_return_code() == ReturnCode.BAD_REQUEST_DATA


def test_names_are_no_prefixes() -> None:
    assert site_of_origin("site-10.job-id", CLIENTS) == "site-10"
    assert site_of_origin("site-1", CLIENTS) == "site-1"
    assert site_of_origin("site-100", CLIENTS) is None
