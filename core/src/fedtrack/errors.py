"""The exceptions that fedtrack raises, and the exit code of the command line for each of them.

::

    FedtrackError               shown to the user as one sentence, without a traceback
    ├── ConfigError             a job, a config file or an argument is wrong               exit 2
    ├── PluginError             a plugin is missing, broken or named twice                 exit 2
    ├── WorkspaceError          a workspace cannot be used: not writable, in use, full     exit 2
    ├── ModelError              parameters that cannot be read, averaged or loaded         exit 1
    ├── SiteError               a site died, timed out or sent something invalid           exit 1
    ├── JobError                the job did not finish                                     exit 1
    ├── DamagedError            bytes on disk fail their checksum or version check         exit 1
    └── EngineError             the system that a job is sent to failed                    exit 1
        ├── EngineUnavailable   it is not installed, or cannot be reached now
        ├── EngineVersionError  its version is not supported                               exit 2
        ├── JobRejected         it refuses the job; see its problems                       exit 2
        ├── EngineTimeout       the wait is over, but the run goes on                      exit 3
        ├── RunNotFound         it does not know the run                                   exit 2
        ├── NotSupported        it cannot do what was asked for                            exit 2
        └── TransportError      a batch was not acknowledged

    ReceiverError               raised by receivers, caught by delivery, never seen by users
    ├── Transient               try the same records again later
    └── Permanent               these records will never be accepted
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from fedtrack.redaction import redact
from fedtrack.visible import visible


class FedtrackError(Exception):
    """An error whose message is written for the user: what is wrong, where, what is valid, what to do."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        # The message may quote what an SDK has said about an address with a password in it.
        return redact(super().__str__())


class ConfigError(FedtrackError):
    """A job, a config file or an argument is wrong."""

    exit_code = 2


class PluginError(FedtrackError):
    """A plugin is missing, broken, incompatible, or shares its name with another one."""

    exit_code = 2


class WorkspaceError(FedtrackError):
    """A workspace cannot be used: it is not writable, or another server holds it."""

    exit_code = 2


class ModelError(FedtrackError):
    """Parameters cannot be read, averaged or loaded; the message names site and tensor."""


class SiteError(FedtrackError):
    """A site died, timed out, or answered with something invalid.

    Args:
        site: Name of the site.
        message: What happened.
        details: The site's own traceback or last lines of output, shown below the message.
    """

    def __init__(self, site: str, message: str, details: str = "") -> None:
        # A message that names the site already, or that is a sentence, becomes a part of another sentence.
        message = message.removeprefix(f"{site}: ").removesuffix(".")
        super().__init__(f"{site}: {message}")
        self.site = site
        self.message = message
        self.details = _noted(self, details)


class JobError(FedtrackError):
    """The job did not finish, for example because more sites failed than ``min_clients`` allows.

    Args:
        message: What happened.
        details: A site's traceback or last lines of output, shown below the message.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = _noted(self, details)


def _noted(error: BaseException, details: str) -> str:
    """Return ``details``, and let Python show them below the message if nobody catches ``error``."""
    if details:
        error.add_note(details.rstrip())
    return details


class DamagedError(FedtrackError):
    """Bytes on disk fail their checksum, or were written by a newer format than this version reads."""


class EngineError(FedtrackError):
    """The system that a job was sent to failed, or refused a request."""


class EngineUnavailable(EngineError):  # noqa: N818 - names a state, which may be temporary
    """The system is not installed or cannot be reached; trying again later may help."""


class EngineVersionError(EngineError):
    """The engine does not support this version of the system."""

    exit_code = 2


class JobRejected(EngineError):  # noqa: N818
    """The system refuses the job.

    Args:
        problems: What it refuses, one sentence each.
    """

    exit_code = 2

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("The job was refused: " + " ".join(self.problems))


class EngineTimeout(EngineError):  # noqa: N818
    """The caller waited as long as it wanted to; the run goes on."""

    exit_code = 3


class RunNotFound(EngineError):  # noqa: N818
    """The system does not know the run, or no longer has its results."""

    exit_code = 2


class NotSupported(EngineError):  # noqa: N818
    """The engine does not support the request."""

    exit_code = 2


class TransportError(EngineError):
    """A batch was not acknowledged.

    Args:
        message: What happened.
        retryable: Whether sending it again may help.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ReceiverError(Exception):
    """Base of the exceptions by which a receiver tells delivery how to go on."""

    def __str__(self) -> str:
        return redact(super().__str__())


class Transient(ReceiverError):  # noqa: N818 - says whether to try again, not only that it failed
    """The backend cannot take the records now (network, lock, 5xx); delivery keeps them and tries again."""


class Permanent(ReceiverError):  # noqa: N818
    """The backend will never take these records; delivery sets them aside and goes on.

    Args:
        message: Why, in the backend's words.
        indices: Positions of the refused records in ``batch.records``, counted from 0. Without them delivery
            bisects the batch until it has found the refused records.
    """

    def __init__(self, message: str, indices: Iterable[int] | None = None) -> None:
        super().__init__(message)
        self.indices = None if indices is None else tuple(indices)


@contextmanager
def report_errors() -> Iterator[None]:
    """Show a FedtrackError as its message, and end the process with its exit code.

    Wrap the outermost call of a script in it. A site's traceback or output, if there is any, is shown above the
    message. Ctrl-C ends the process with code 130.
    """
    try:
        yield
    except FedtrackError as error:
        details = getattr(error, "details", "").rstrip()
        _show(f"{details}\n\nError: {error}" if details else f"Error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _show("Interrupted.")
        sys.exit(130)


@contextmanager
def system_errors() -> Iterator[None]:
    """Turn an error of the operating system, such as a path that cannot be written, into a ConfigError.

    Wrap a command in it, and not a script of the user's, whose own errors keep their traceback.
    """
    try:
        yield
    except BrokenPipeError:  # the reader of the output has left, which is no error
        raise
    except OSError as error:
        reason = error.strerror or getattr(error, "reason", None) or error
        if error.filename is None:
            raise ConfigError(f"This cannot be done here: {reason}.") from error
        shown = " ".join(os.fsdecode(error.filename).split()) if not isinstance(error.filename, int) else "A file"
        shown = shown if len(shown) <= 200 else f"{shown[:200]}..."
        raise ConfigError(
            f"{shown} cannot be read or written: {reason}; check the path, and whether you may use it."
        ) from error


def _show(text: str) -> None:
    with suppress(OSError, ValueError):  # standard error may be closed; the exit code says it, too
        print(visible(redact(text)), file=sys.stderr, flush=True)
