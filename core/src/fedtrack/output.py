"""Output: standard output and standard error, which may be closed at the start or at any time later.

``fedtrack run JOB | head -1`` closes a pipe, ``>&-`` starts without a descriptor, and a terminal that is closed takes
both streams away. None of this says anything about a run, which goes on.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, TextIO, cast

from fedtrack.redaction import redact
from fedtrack.visible import visible

#: The exit status of a listing whose reader has left: that of a program that SIGPIPE ends, as ``git log | head``.
READER_LEFT = 141


class ProgressStyle(StrEnum):
    """How a command shows the progress and the end of a run."""

    #: To people: live on a terminal, lines otherwise, and a page at the end.
    AUTO = "auto"
    #: To programs: a line of JSON on standard output for each thing that happens.
    JSON_LINES = "json-lines"
    #: Not at all; warnings and errors are shown.
    QUIET = "quiet"


#: The style that the command has chosen; an engine that shows progress asks for it in the thread that runs the job.
PROGRESS_STYLE: ContextVar[ProgressStyle] = ContextVar("progress_style", default=ProgressStyle.AUTO)


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


class TolerantStream:
    """A text stream that accepts everything, also after its reader has left.

    Args:
        stream: The stream; None if the process was started without one.
        leave: Whether the process ends, silently and with ``READER_LEFT``, when the reader has left.
    """

    def __init__(self, stream: TextIO | None, *, leave: bool = False) -> None:
        self._stream = cast("TextIO", _Nowhere()) if stream is None else stream
        self.leave = leave

    def write(self, text: str) -> int:
        """Write ``text`` if that is possible."""
        with self._guarded():
            self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write ``lines`` if that is possible."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Flush if that is possible."""
        with self._guarded():
            self._stream.flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        try:
            return self._stream.isatty()
        except ValueError:  # closed
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError):  # EPIPE, EIO of a terminal, EBADF, a stream that was closed
            self._forget_reader()
            if self.leave:
                sys.exit(READER_LEFT)

    def _forget_reader(self) -> None:
        """Let what is still buffered go nowhere: Python would fail over it at its end."""
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


def tolerant(stream: TextIO | None) -> TextIO:
    """Return ``stream``, which may be None, as one that accepts everything."""
    return cast("TextIO", stream if isinstance(stream, TolerantStream) else TolerantStream(stream))


def say(text: str) -> None:
    """Print a line to standard error, if there is one."""
    print(visible(text), file=tolerant(sys.stderr), flush=True)


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print what a command says, so that nothing in it controls the terminal.

    Args:
        text: The text; parts of it may come from sites, jobs and backends.
        err: Whether it goes to standard error.
        nl: Whether a line ends with it.
    """
    print(visible(str(text)), end="\n" if nl else "", file=sys.stderr if err else sys.stdout, flush=True)


def keep_output() -> None:
    """Let no later output of the command fail: a run does not depend on its reader."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TolerantStream):
            stream.leave = False


@contextlib.contextmanager
def tolerated() -> Iterator[None]:
    """Make the output of this process tolerant; a listing then ends with ``READER_LEFT`` when its reader leaves.

    The three standard descriptors are opened if they are closed. Otherwise the next file, such as a database, would get
    the number of standard output.
    """
    fill_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", TolerantStream(sys.stdout, leave=True))
    sys.stderr = tolerant(sys.stderr)
    try:
        yield
    finally:
        with contextlib.suppress(SystemExit):
            sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def fill_descriptors() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
