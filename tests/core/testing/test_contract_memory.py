"""The in-memory receiver keeps every law; it is also the shortest example of a contract."""

from __future__ import annotations

from pathlib import Path

from fedtrack.testing import MemoryReceiver, ReceiverContract, Stored
from fedtrack.testing.doubles import memory_store


class TestMemoryReceiver(ReceiverContract):
    survives_kill = False  # the backend is this process

    def make_receiver(self) -> MemoryReceiver:
        return MemoryReceiver()

    def read(self, folder: Path) -> list[Stored]:
        return memory_store(folder).stored
