"""Clock: the time of the simulation, which every module of fedtrack gets instead of the real one."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

#: The wall clock at the start: any moment.
_EPOCH_NS = 1_800_000_000_000_000_000


class Clock:
    """The clocks of all machines, which are one: no promise depends on a difference between two.

    Attributes:
        seconds: Seconds that never run back.
        ahead_ns: How far the wall clock is ahead of them.
        threads: The threads that were started, which run when they are told to.
    """

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.ahead_ns = _EPOCH_NS
        self.threads: list[VirtualThread] = []

    def monotonic(self) -> float:
        """Return seconds that never run back."""
        return self.seconds

    def time_ns(self) -> int:
        """Return the wall clock; each look takes a microsecond."""
        self.seconds += 1e-6
        return self.wall_ns()

    def wall_ns(self) -> int:
        """Return the wall clock; a look from outside takes no time."""
        return self.ahead_ns + int(self.seconds * 1e9)

    def sleep(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            Paused: This is a thread's second sleep in one turn.
        """
        if VirtualThread.current is not None:
            VirtualThread.current.sleeps()
        self.seconds += max(seconds, 0.0)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Replace the clock, the threads and the randomness of every module of fedtrack."""
        new = {time.time_ns: self.time_ns, time.monotonic: self.monotonic, time.sleep: self.sleep}
        old: list[tuple[Any, str, Any]] = []
        try:
            for module, name, value in _uses():
                old.append((module, name, value))
                setattr(module, name, new[value] if value in new else self._module(value))
            yield
        finally:
            for module, name, value in old:
                setattr(module, name, value)

    def _module(self, module: Any) -> Any:
        if module is random:
            return SimpleNamespace(Random=lambda: random.Random(0))
        return SimpleNamespace(
            RLock=threading.RLock,
            Thread=lambda **options: VirtualThread(self, **options),
            current_thread=lambda: VirtualThread.current,
        )


class Paused(BaseException):
    """A thread has had its turn."""


class VirtualThread:
    """A thread that makes one turn of its loop when it is told to."""

    current: VirtualThread | None = None

    def __init__(self, clock: Clock, target: Callable[..., None], args: tuple[Any, ...] = (), **_: Any) -> None:
        self._clock = clock
        self._target, self._arguments = target, args
        self._slept = False

    def start(self) -> None:
        """Make it known."""
        self._clock.threads.append(self)

    def belongs_to(self, owner: object) -> bool:
        """Return whether the thread works for an object: the first argument of its target is a reference to it."""
        reference = self._arguments[0] if self._arguments else None
        return callable(reference) and reference() is owner

    def sleeps(self) -> None:
        """Note that the thread sleeps."""
        if self._slept:
            raise Paused
        self._slept = True

    def turn(self) -> bool:
        """Let the thread work until it sleeps for the second time; return False if it has ended."""
        VirtualThread.current, self._slept = self, False
        try:
            self._target(*self._arguments)
        except Paused:
            return True
        finally:
            VirtualThread.current = None
        return False


_found: list[tuple[Any, str, Any]] = []


def _uses() -> list[tuple[Any, str, Any]]:
    """Return (module, name, value) of every clock that a module of fedtrack uses."""
    if not _found:
        clocks = (time.time_ns, time.monotonic, time.sleep)
        for key, module in list(sys.modules.items()):
            if key.split(".")[0] != "fedtrack" or module is None:
                continue
            _found.extend((module, name, value) for name, value in vars(module).items() if value in clocks)
        for key, name, value in (
            ("fedtrack.spool.spool", "threading", threading),
            ("fedtrack.delivery.retry", "random", random),
            ("fedtrack.transport.shipper", "random", random),
        ):
            _found.append((sys.modules[key], name, value))
    return _found
