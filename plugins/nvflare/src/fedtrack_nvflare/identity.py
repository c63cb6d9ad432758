"""Identity: the sender of a message, known from FLARE's transport and not from the message.

FLARE gives an aux handler only the name that the sender wrote. The message below it has its origin, which since FLARE
2.8 the server compares with the certificate-backed token of the sender. So this component listens one level lower than
FLARE's own handlers, under the same channel, and refuses a message whose claimed sender differs from its origin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.fuel.f3.cellnet.core_cell import Message, MessageHeaderKey
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.private.defs import CellChannel

from fedtrack.transport import PAYLOAD, TOPIC, Ack, encode


def listen(engine: Any, handle: Callable[[str, bytes], bytes]) -> None:
    """Answer the sites' messages with ``handle``, which gets the site's name and the bytes."""

    def answer(message: Any) -> Any:
        request = message.payload
        data = request.get(PAYLOAD) if isinstance(request, Shareable) else None
        if not isinstance(data, bytes):
            return _message(make_reply(ReturnCode.BAD_REQUEST_DATA))
        site = site_of_origin(message.get_header(MessageHeaderKey.ORIGIN), engine.get_clients())
        claimed = request.get_peer_prop(ReservedKey.IDENTITY_NAME, None)
        reply = make_reply(ReturnCode.OK)
        if site is None or claimed != site:
            reply[PAYLOAD] = encode(Ack("rejected", reason=f"a message from {site!r} in the name of {claimed!r}"))
        else:
            reply[PAYLOAD] = handle(site, data)
        return _message(reply)

    cell_of_job(engine).register_request_cb(channel=CellChannel.AUX_COMMUNICATION, topic=TOPIC, cb=answer)


def cell_of_job(engine: Any) -> Any:
    """Return the cell to which the sites' job processes talk; in the simulator the server's process has two cells."""
    agent = getattr(getattr(engine, "server", None), "command_agent", None)
    return engine.get_cell() if agent is None else agent.cell


def site_of_origin(origin: object, clients: Any) -> str | None:
    """Return the name of the client with the cell ``origin``; None if no client has it."""
    if not isinstance(origin, str):
        return None
    for client in clients:
        cell = client.get_fqcn() or client.name
        if origin == cell or FQCN.is_ancestor(cell, origin):
            return str(client.name)
    return None


def _message(reply: Any) -> Any:
    return Message(headers={MessageHeaderKey.RETURN_CODE: CellReturnCode.OK}, payload=reply)
