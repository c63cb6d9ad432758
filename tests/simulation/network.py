"""Network: messages between agents and the server, which it loses, delays, doubles and reorders."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from fedtrack.errors import TransportError
from fedtrack.transport.wire import Ack, decode_ack, encode

#: Handles a message and returns the answer; None if nobody is there.
Answer = Callable[[bytes], bytes | None]


class Network:
    """The network between all agents and the server.

    Attributes:
        weather: Of 100 messages, how many are lost, lose their answer, are doubled, are delayed.
        late: The delayed messages, with what handles them.
    """

    def __init__(self) -> None:
        self.weather = (0, 0, 0, 0)
        self.late: list[tuple[Answer, bytes]] = []

    def call(self, message: Any, answer: Answer, chance: random.Random) -> Ack:
        """Send a message and return the answer.

        Raises:
            TransportError: There is none.
        """
        data = encode(message)
        lost, silent, doubled, delayed = (chance.randrange(100) < percent for percent in self.weather)
        if lost:
            raise TransportError("the network lost a message")
        if delayed:
            self.late.append((answer, data))
            raise TransportError("the network delays a message")
        if doubled:
            answer(data)
        reply = answer(data)
        if reply is None or silent:
            raise TransportError("the network lost an answer")
        return decode_ack.decode(reply)

    def arrive(self, index: int) -> None:
        """Let a delayed message arrive; its answer is lost."""
        if self.late:
            answer, data = self.late.pop(index % len(self.late))
            answer(data)
