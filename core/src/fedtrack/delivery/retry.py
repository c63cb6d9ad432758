"""Retry: how delivery goes on when a receiver, or the journal, cannot do what it was asked to do."""

from __future__ import annotations

import errno
import logging
import random
import sqlite3
import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from fedtrack.errors import DamagedError, FedtrackError, Permanent, Transient, WorkspaceError

log = logging.getLogger(__name__)

#: An exception that is neither Transient nor Permanent counts as permanent after this many attempts.
UNKNOWN_ERROR_ATTEMPTS = 5

FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_SECONDS = 60.0
_LONGEST_DRAINING_SECONDS = 5.0
_LOOK_SECONDS = 0.5

#: Errors of the disk or the network on which a receiver's records can wait.
_OUTAGES = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH))

_T = TypeVar("_T")


class Abandoned(Exception):  # noqa: N818 - ends the thread's work, nobody catches it as an error
    """Delivery was told to stop although it has not caught up."""


class Retry:
    """Repeats one receiver's calls until they succeed, and remembers what went wrong.

    Args:
        name: The receiver component's id, for messages.
        first_seconds: The longest first wait after an error; doubles up to a minute, with full jitter.

    Attributes:
        draining: Set once the journal is complete.
        abandoned: Set once delivery shall end although it has not caught up.
        error: The last error that is still unresolved, or "".
        outage: What the backend said the last time it took nothing, and then worked again.
        outage_seconds: For how long in all that was.
    """

    def __init__(self, name: str, first_seconds: float) -> None:
        self.draining = threading.Event()
        self.abandoned = threading.Event()
        self.error = ""
        self.outage = ""
        self.outage_seconds = 0.0
        self._name = name
        self._first_seconds = first_seconds
        self._failing_since = 0.0
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing

    def persist(
        self, call: Callable[[], None], attempts: int = UNKNOWN_ERROR_ATTEMPTS, *, patient: bool = False
    ) -> None:
        """Call until it succeeds, with a growing, jittered wait after each failure.

        Args:
            call: What to do.
            attempts: How often an exception that does not say that waiting helps may occur.
            patient: Whether it may occur any number of times until the journal is complete.

        Raises:
            Permanent: The receiver raised it, or met damaged data, or failed in an unknown way too often.
            FedtrackError: The receiver raised it: its configuration is wrong, and waiting will not help.
            Abandoned: Delivery was told to stop.
        """
        attempt = unknown = 0
        while True:
            if self.abandoned.is_set():
                raise Abandoned
            try:
                call()
            except DamagedError as error:  # a record's blob, for example; the records beside it are fine
                raise Permanent(str(error)) from error
            except (Permanent, FedtrackError):
                raise
            except BaseException as error:  # also what an SDK raises to end the process it thinks is its own
                unknown += not _is_outage(error)
                if unknown >= attempts and not (patient and not self.draining.is_set()):
                    raise TriedOften(describe(error)) from error
                self._pause(error, attempt)
                attempt += 1
            else:
                self._works_again()
                return

    def insist(self, call: Callable[[], _T]) -> _T:
        """Call the journal until it answers: its disk may be full now, and have room again later."""
        attempt = 0
        while True:
            try:
                result = call()
            except (WorkspaceError, sqlite3.Error) as error:
                if self.abandoned.is_set():
                    raise Abandoned from None
                self._pause(error, attempt)
                attempt += 1
            else:
                self._works_again()
                return result

    def _pause(self, error: BaseException, attempt: int) -> None:
        if not self.error:
            self._failing_since = monotonic()
            log.warning("%s: %s; its records wait in the journal", self._name, describe(error))
        self.error = describe(error)
        longest = min(self._first_seconds * 2 ** min(attempt, 16), _LONGEST_SECONDS)
        if self.draining.is_set():
            # A run that ends waits for seconds: a backend that is back must not be missed by one long wait.
            longest = min(longest, _LONGEST_DRAINING_SECONDS)
        self._wait(self._random.uniform(0, longest))

    def _wait(self, seconds: float) -> None:
        """Wait, but not beyond an order to end, nor in one piece beyond the moment at which the journal is complete."""
        draining, deadline = self.draining.is_set(), monotonic() + seconds
        while (left := deadline - monotonic()) > 0 and not self.abandoned.wait(min(left, _LOOK_SECONDS)):
            if self.draining.is_set() and not draining:
                return

    def _works_again(self) -> None:
        if self.error:
            seconds = monotonic() - self._failing_since
            log.warning("%s: works again after %.1f s", self._name, seconds)
            self.outage_seconds += seconds
            self.outage, self.error = self.error, ""


class TriedOften(Permanent):
    """An exception of an unknown kind that came as often as is allowed."""


def _is_outage(error: BaseException) -> bool:
    """Return whether waiting helps: the receiver says so, or the network or the disk is what failed."""
    if isinstance(error, Transient | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _OUTAGES


def describe(error: BaseException) -> str:
    """Return what an error says, with its type where the type is not already its meaning."""
    return (
        str(error) if isinstance(error, Transient | Permanent | FedtrackError) else f"{type(error).__name__}: {error}"
    )
