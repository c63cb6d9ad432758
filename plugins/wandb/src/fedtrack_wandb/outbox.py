"""Outbox: a run's records are handed to W&B's thread many at a time, instead of one by one.

``run.log`` spends most of its time on two thread switches per row: it wakes the thread that owns the socket, and that
thread wakes it. The outbox keeps the records exactly as ``run.log`` has built them, and only shares the switches.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fedtrack_wandb.core_process import Run

#: Versions of wandb with the internal interface that this file uses. With any other, rows are sent one by one.
KNOWN = ("0.31.",)

#: The most records that are kept back; more gain nothing, and wandb-core should have work meanwhile.
LIMIT = 256


class Outbox:
    """Records that one run has published and that wandb-core has not received yet.

    In a ``with`` block of the outbox, the records that the run publishes are kept back, in order. Requests that wait
    for an answer are sent at once, so they overtake these records.

    Args:
        run: A run of the SDK. If it is None, or its internal interface is unknown, no record is ever kept back.
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
        """Whether it is time to call ``hand_over``."""
        return len(self._records) >= LIMIT

    def hand_over(self) -> None:
        """Send the records that were kept back and wait, as ``run.log`` does, until the socket has taken them.

        Raises:
            Exception: wandb-core has ended, or wandb's internal interface is different. It is unknown how many records
                were sent, so the run has to be started again.
        """
        if not self._records:
            return
        from wandb.proto.wandb_server_pb2 import ServerRequest

        records, interface = self._records, self._interface

        async def publish() -> None:
            # As in InterfaceSock._publish, but for all records in one call on the thread.
            while records:
                record = records.popleft()
                interface._assign(record)
                await interface._client.publish(ServerRequest(record_publish=record))

        interface._asyncer.run(publish)

    def _keep(self, record: Any, *, nowait: bool = False) -> None:
        self._records.append(record)


def _interface_of(run: Run) -> Any:
    """Return the run's connection to wandb-core, or None if this file does not know its interface."""
    try:
        import wandb
        from wandb.sdk.interface.interface_sock import InterfaceSock

        interface = run._interface
        known = wandb.__version__.startswith(KNOWN) and type(interface) is InterfaceSock
        return interface if known and vars(interface).keys() >= {"_client", "_asyncer"} else None
    except (ImportError, AttributeError):
        return None
