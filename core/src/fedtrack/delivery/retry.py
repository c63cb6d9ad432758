"""Retry: when a receiver, or a file, that could not do what it was asked to do is asked again."""

from __future__ import annotations

import errno
import logging
import random
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from fedtrack.errors import DamagedError, FedtrackError, Permanent, Transient, WorkspaceError

log = logging.getLogger(__name__)

#: An exception that is neither Transient nor Permanent counts as permanent after this many attempts.
UNKNOWN_ERROR_ATTEMPTS = 5

FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_SECONDS = 60.0
_LONGEST_DRAINING_SECONDS = 5.0

#: Errors of the disk or the network on which a receiver's records can wait.
_OUTAGES = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH))

_T = TypeVar("_T")


class Later(Exception):  # noqa: N818 - a turn of the work, not an error
    """What was asked for failed, and is to be asked for again.

    Attributes:
        seconds: When: after so many seconds.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Retry:
    """Makes one receiver's calls, remembers what went wrong, and says when to try again. Never waits itself.

    Args:
        name: The receiver component's id, for messages.
        first_seconds: The longest first wait after an error; doubles up to a minute, with full jitter.

    Attributes:
        draining: Whether the journal is complete: waits are short then, and patience ends.
        error: The last error that is still unresolved, or "".
        outage: What the backend said the last time it took nothing, and then worked again.
        outage_seconds: For how long in all that was.
    """

    def __init__(self, name: str, first_seconds: float) -> None:
        self.draining = False
        self.error = ""
        self.outage = ""
        self.outage_seconds = 0.0
        self._name = name
        self._first_seconds = first_seconds
        self._failing_since = 0.0
        self._failures = self._unknown = 0
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing

    def call_receiver(
        self, call: Callable[[], None], now: float, attempts: int = UNKNOWN_ERROR_ATTEMPTS, *, patient: bool = False
    ) -> None:
        """Call the receiver once.

        Args:
            call: What to do.
            now: The time, in seconds of any clock that never runs back.
            attempts: How often an exception that does not say that waiting helps may occur in a row.
            patient: Whether it may occur any number of times until the journal is complete.

        Raises:
            Later: It failed, and waiting may help.
            Permanent: The receiver raised it, or met damaged data, or failed in an unknown way too often.
            FedtrackError: The receiver raised it: its configuration is wrong, and waiting will not help.
        """
        try:
            call()
        except DamagedError as error:  # a record's blob, for example; the records beside it are fine
            self._forget()
            raise Permanent(str(error)) from error
        except (Permanent, FedtrackError):
            self._forget()
            raise
        except BaseException as error:  # also what an SDK raises to end the process it thinks is its own
            self._unknown += not _is_outage(error)
            if self._unknown >= attempts and not (patient and not self.draining):
                self._forget()
                raise TriedOften(describe(error)) from error
            raise Later(self._pause(error, now)) from None
        self._works_again(now)

    def use_file(self, use: Callable[[], _T], now: float) -> _T:
        """Read or write the journal or the ledger once: its disk may be full now, and have room again later.

        Raises:
            Later: It failed.
        """
        try:
            result = use()
        except (WorkspaceError, sqlite3.Error) as error:
            raise Later(self._pause(error, now)) from None
        self._works_again(now)
        return result

    def _pause(self, error: BaseException, now: float) -> float:
        if not self.error:
            self._failing_since = now
            log.warning("%s: %s; its records wait in the journal", self._name, describe(error))
        self.error = describe(error)
        longest = min(self._first_seconds * 2 ** min(self._failures, 16), _LONGEST_SECONDS)
        if self.draining:
            # A run that ends waits for seconds: a backend that is back must not be missed by one long wait.
            longest = min(longest, _LONGEST_DRAINING_SECONDS)
        self._failures += 1
        return self._random.uniform(0, longest)

    def _works_again(self, now: float) -> None:
        self._forget()
        if self.error:
            seconds = now - self._failing_since
            log.warning("%s: works again after %.1f s", self._name, seconds)
            self.outage_seconds += seconds
            self.outage, self.error = self.error, ""

    def _forget(self) -> None:
        self._failures = self._unknown = 0


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
