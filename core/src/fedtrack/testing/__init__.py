"""Testing, for the authors of plugins: the laws of a receiver, in-memory doubles, pytest fixtures.

A receiver's test is a class that inherits the laws::

    from fedtrack.testing import ReceiverContract, Stored

    class TestCsvReceiver(ReceiverContract):
        def make_receiver(self):
            return CsvReceiver()

        def read(self, folder):
            return [Stored(site, key, value, step, time_ns) for ... in folder.glob("*.csv")]

Modules of this package that need pytest are loaded on first use, because core does not depend on pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.testing.contract import ReceiverContract
    from fedtrack.testing.doubles import FaultyReceiver, MemoryLog, MemoryReceiver, run_info
    from fedtrack.testing.stored import Stored

_HOMES = {
    "FaultyReceiver": "fedtrack.testing.doubles",
    "MemoryLog": "fedtrack.testing.doubles",
    "MemoryReceiver": "fedtrack.testing.doubles",
    "ReceiverContract": "fedtrack.testing.contract",
    "Stored": "fedtrack.testing.stored",
    "run_info": "fedtrack.testing.doubles",
}

__all__ = ["FaultyReceiver", "MemoryLog", "MemoryReceiver", "ReceiverContract", "Stored", "run_info"]


# Lazy: pytest imports this package at every start, wherever fedtrack is installed.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
