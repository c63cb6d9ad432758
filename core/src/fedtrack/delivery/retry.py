"""Retry: failed calls of a receiver, or of a file, are repeated after a wait."""

from __future__ import annotations

import errno
import logging
import random
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from fedtrack.errors import DamagedError, FedtrackError, Permanent, Transient, WorkspaceError
from fedtrack.failure import failure_of, located

log = logging.getLogger(__name__)

#: An exception that is neither Transient nor Permanent counts as permanent after this many attempts.
UNKNOWN_ERROR_ATTEMPTS = 5

FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_SECONDS = 60.0
_LONGEST_DRAINING_SECONDS = 5.0

#: Errors of the disk or the network that may end; until then a receiver's records can wait.
_OUTAGES = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH))

_T = TypeVar("_T")


class Later(Exception):  # noqa: N818 - a turn of the work, not an error
    """A call failed, and must be repeated.

    Attributes:
        seconds: Seconds to wait before that.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Retry:
    """Makes one receiver's calls, remembers their errors, and tells when to try again. It never waits itself.

    Args:
        name: The receiver component's id, for messages.
        first_seconds: The longest first wait after an error; doubles up to a minute, with full jitter.
        module: The module of the receiver's class; its errors are shown with file and line of the receiver's code.

    Attributes:
        draining: Whether the journal is complete: then waits are short, and patience ends.
        error: The last error that is still unresolved, or "".
        outage: The backend's last error message in an outage that is over.
        outage_seconds: The length of all such outages together.
    """

    def __init__(self, name: str, first_seconds: float, module: str = "") -> None:
        self.draining = False
        self.error = ""
        self.outage = ""
        self.outage_seconds = 0.0
        self._name = name
        self._first_seconds = first_seconds
        self._module = module
        self._failing_since = 0.0
        self._failures = self._unknown = 0
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing

    def call_receiver(
        self, call: Callable[[], None], now: float, attempts: int = UNKNOWN_ERROR_ATTEMPTS, *, patient: bool = False
    ) -> None:
        """Call the receiver once.

        Args:
            call: The call of the receiver.
            now: The time, in seconds of any clock that never runs back.
            attempts: How often in a row an unknown exception may occur before the call counts as failed.
            patient: Whether it may occur any number of times until the journal is complete.

        Raises:
            Later: The call failed, and waiting may help.
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
        except BaseException as error:  # also an SDK's exception that is meant to end the process
            self._unknown += not _is_outage(error)
            if self._unknown >= attempts and not (patient and not self.draining):
                self._forget()
                raise TriedOften(describe(error, self._module)) from error
            raise Later(self._pause(error, now)) from None
        self._works_again(now)

    def use_file(self, use: Callable[[], _T], now: float) -> _T:
        """Read or write the journal or the ledger once: its disk may be full now, and have room again later.

        Raises:
            Later: The call failed.
        """
        try:
            result = use()
        except (WorkspaceError, sqlite3.Error, MemoryError) as error:
            raise Later(self._pause(error, now)) from None
        self._works_again(now)
        return result

    def _pause(self, error: BaseException, now: float) -> float:
        described = describe(error, self._module)
        if not self.error:
            self._failing_since = now
            log.warning(
                "%s: %s; its records wait in the journal",
                self._name,
                described,
                extra=traceback_of(error, self._module),
            )
        self.error = described
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
    """An unknown exception that has occurred as often as is allowed."""


def _is_outage(error: BaseException) -> bool:
    """Return whether waiting helps: the receiver says so, or the network or the disk has failed."""
    if isinstance(error, Transient | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _OUTAGES


def describe(error: BaseException, module: str = "") -> str:
    """Return an error's message; for one that a receiver did not mean to raise, its type and its place in the code.

    Args:
        error: The error.
        module: The module of the receiver's class.
    """
    if isinstance(error, Transient | Permanent | FedtrackError):
        return str(error)
    return located(error, module)


def traceback_of(error: BaseException, module: str = "") -> dict[str, object]:
    """Return the ``extra`` of a log call that has the error's whole traceback; see ``failure.TracebackFormatter``.

    ``meant`` is whether the receiver has raised the error on purpose, so that its message is enough.
    """
    meant = isinstance(error, Transient | Permanent | FedtrackError) and not isinstance(error, TriedOften)
    return {"traceback": failure_of(error, module).text, "meant": meant}
