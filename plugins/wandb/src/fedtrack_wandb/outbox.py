"""Sends what a run publishes in few crossings to W&B's thread, instead of one for each row.

``run.log`` spends most of its time not on the row but on waking the thread that owns the socket, and on being woken
by it, so that rows follow each other with two thread switches in between. What is kept back here is what ``run.log``
made of a row, to the byte; only the crossing is shared.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fedtrack_wandb.core_process import Run

#: Versions of wandb whose inside is as this file knows it. With any other, each row crosses alone.
KNOWN = ("0.31.",)

#: What may be kept back; more gains nothing, and wandb-core should be at work meanwhile.
LIMIT = 256


class Outbox:
    """What one run has published and wandb-core has not been sent yet.

    In a ``with`` block of it, whatever the run publishes is kept back, in order. Requests that wait for an answer are
    not, so they overtake it.

    Args:
        run: A run of the SDK. If it is None, or its inside is unknown, nothing is ever kept back.
    """

    def __init__(self, run: Run | None = None) -> None:
        self._interface: Any = None if run is None else _interface_of(run)
        self._records: deque[Any] = deque()

    def __enter__(self) -> None:
        if self._interface is not None:
            self._interface._publish = self._keep  # hides the method, for this run only

    def __exit__(self, *_: object) -> None:
        if self._interface is not None:
            del self._interface._publish

    @property
    def is_full(self) -> bool:
        """Whether it is time to hand over."""
        return len(self._records) >= LIMIT

    def hand_over(self) -> None:
        """Send what was kept back, and wait as ``run.log`` waits: until the socket has taken it.

        Raises:
            Exception: wandb-core is gone, or wandb is not what this file takes it for. How much has crossed is unknown,
                so the run has to be started anew.
        """
        if not self._records:
            return
        from wandb.proto.wandb_server_pb2 import ServerRequest

        records, interface = self._records, self._interface

        async def publish() -> None:
            # As InterfaceSock._publish does it, but for all of them in one visit to the thread.
            while records:
                record = records.popleft()
                interface._assign(record)
                await interface._client.publish(ServerRequest(record_publish=record))

        interface._asyncer.run(publish)

    def _keep(self, record: Any, *, nowait: bool = False) -> None:
        self._records.append(record)


def _interface_of(run: Run) -> Any:
    """Return the run's connection to wandb-core, or None if it is not one that this file knows."""
    try:
        import wandb
        from wandb.sdk.interface.interface_sock import InterfaceSock

        interface = run._interface
        known = wandb.__version__.startswith(KNOWN) and type(interface) is InterfaceSock
        return interface if known and vars(interface).keys() >= {"_client", "_asyncer"} else None
    except (ImportError, AttributeError):
        return None
