"""Ears: what the processes of a supervisor say, and which of them have ended."""

from __future__ import annotations

import selectors
from time import monotonic

from fedtrack.delivery.deliverer.messages import Message
from fedtrack.delivery.deliverer.worker import Worker

_LISTEN_SECONDS = 0.1

#: If this process itself was stopped for so long, others were stopped too, and get time to show that they live.
_DOZE_SECONDS = 2.0
_GRACE_SECONDS = 5.0


class Ears:
    """Listens to processes; used by one thread, except ``add``."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._listened = monotonic()
        self._doze_ends = 0.0

    @property
    def dozed(self) -> bool:
        """Whether this process was stopped a short time ago, so that the silence of others means nothing."""
        return monotonic() < self._doze_ends

    def add(self, worker: Worker) -> None:
        """Listen to one more process."""
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def forget(self, worker: Worker) -> None:
        """Listen to a process no longer."""
        self._selector.unregister(worker.channel)

    def listen(self) -> tuple[list[Message], list[Worker]]:
        """Wait a moment; return the messages, and the processes that have hung up."""
        if monotonic() - self._listened > _DOZE_SECONDS:
            self._doze_ends = monotonic() + _GRACE_SECONDS
        heard: list[Message] = []
        ended: list[Worker] = []
        for key, _ in self._selector.select(_LISTEN_SECONDS):
            worker: Worker = key.data
            try:
                heard += worker.receive()
            except EOFError:
                ended.append(worker)
        self._listened = monotonic()
        return heard, ended

    def close(self) -> None:
        """Stop listening."""
        self._selector.close()
