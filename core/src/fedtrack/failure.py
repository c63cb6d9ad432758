"""Failure: an exception as its author wants to see it: a sentence, the place in the author's code, the traceback.

An exception comes from somebody's code: a plugin, or a training script. Its author needs the file and line of that
code. The frames of the engine that called it are of no use.
"""

from __future__ import annotations

import logging
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fedtrack.errors import FedtrackError
from fedtrack.redaction import redact
from fedtrack.visible import visible

if TYPE_CHECKING:
    from traceback import TracebackException
    from types import TracebackType

#: The most characters of a sentence, and of a text that is sent or shown. A message can have 10,000 lines.
MOST_SENTENCE, MOST_TEXT = 300, 20_000

_TRACEBACK = "Traceback (most recent call last):"


class VisibleFormatter(logging.Formatter):
    """Shows messages so that nothing in them controls the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message."""
        return visible(super().format(record))


class TracebackFormatter(logging.Formatter):
    """Adds to a message the traceback that it comes with; other formatters show the message only.

    A traceback comes as ``log.error(..., extra={"traceback": failure.text})``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, and below it the traceback."""
        message, text = super().format(record), getattr(record, "traceback", "")
        return visible(f"{message}\n{text.rstrip()}" if text else message)


class Failure(NamedTuple):
    """An exception for people.

    Attributes:
        sentence: The type and the first line of the message, such as ``ValueError: no data``.
        location: ``file:line`` of the deepest frame in the author's code, or "" if there is none.
        text: The traceback with its chained exceptions, of any length; see ``shortened``.
    """

    sentence: str
    location: str
    text: str

    def __str__(self) -> str:
        return f"{self.sentence} ({self.location})" if self.location else self.sentence


def failure_of(error: BaseException, module: str) -> Failure:
    """Return an exception of a plugin, with the whole traceback.

    Args:
        error: The exception.
        module: The module of the plugin's class. Every file of its top-level package is the author's code.
    """
    return Failure(_sentence_of(error), _place_of(error, module), _printable("".join(_format(error))))


def _place_of(error: BaseException, module: str) -> str:
    """Return ``file:line`` of the deepest frame in a plugin's code, or ""; see ``failure_of``."""
    return _location(error, _code_of(module), module.partition(".")[0])


def located(error: BaseException, module: str) -> str:
    """Return an exception of a plugin in one sentence with its place; see ``failure_of``."""
    return str(Failure(_sentence_of(error), _place_of(error, module), ""))


def failure_of_script(error: BaseException, folder: str, engine: Sequence[str]) -> Failure:
    """Return an exception of a training script, without the frames of the engine that runs the script.

    Args:
        error: The exception.
        folder: The folder of the author's code.
        engine: The packages of the engine; core is always one.
    """
    hidden = tuple(place for package in ("fedtrack", *engine) for place in _code_of(package))
    text = "".join(_format(error, hidden))
    location = _location(error, (Path(folder).resolve(),))
    return Failure(_sentence_of(error), location, _printable(text))


def _sentence_of(error: BaseException) -> str:
    """Return the type and the first line of the message; of a group also its first exception."""
    kind = type(error).__name__
    try:
        message = (isinstance(error, SyntaxError) and error.msg) or str(error).strip()
    except Exception:  # the __str__ of an exception can raise, too
        message = "(its message cannot be shown)"
    lines = message.splitlines() or [""]
    shown = lines[0]
    if isinstance(error, BaseExceptionGroup):
        return _plain(redact(f"{kind}: {shown}") + f", the first is {_sentence_of(error.exceptions[0])}")
    if _TRACEBACK in message:  # of another process, such as a worker of a data loader; its last line says what it was
        shown = f"{shown} {lines[-1].strip()}"
    return _plain(redact(f"{kind}: {shown}" if shown else kind))


def _code_of(module: str) -> tuple[Path, ...]:
    """Return the folders or the file of the top-level package of an imported module."""
    own, package = sys.modules.get(module), sys.modules.get(module.partition(".")[0])
    places = getattr(package, "__path__", None) or [getattr(item, "__file__", None) for item in (package, own)]
    return tuple(_resolved(str(place)) for place in places if place)


def _printable(text: str) -> str:
    """Return the text without what cannot be sent, or could change what the terminal shows."""
    return visible(redact(text))


def shortened(text: str, most: int = MOST_TEXT) -> str:
    """Return the text without its middle if it is longer than ``most`` characters.

    The frames are at the beginning and the end: a chain begins with its cause.
    """
    text = _printable(text)
    if len(text) <= most:
        return text
    head, tail = text[: most // 2], text[-most // 2 :]
    left_out = text.count("\n", len(head), len(text) - len(tail))
    return f"{head}\n... ({left_out:,} lines are left out here)\n{tail}"


def _plain(sentence: str) -> str:
    """Return one line of printable text: a control character could change what the terminal shows."""
    text = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in sentence)
    return text if len(text) <= MOST_SENTENCE else f"{text[:MOST_SENTENCE]}..."


def _location(error: BaseException, places: tuple[Path, ...], package: str = "") -> str:
    """Return the place of the exception in the author's code, else that of its first part, its cause or context.

    Args:
        error: The exception.
        places: The folders and files of the author's code.
        package: The top-level package of the code, whose files are not known if its import failed.
    """
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        found = todo.pop(0)
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, SyntaxError) and found.filename and _is_in(found.filename, places):
            return f"{found.filename}:{found.lineno}"
        parts = list(found.exceptions) if isinstance(found, BaseExceptionGroup) else []
        for part in parts:
            if location := _deepest(part.__traceback__, places, package):
                return location
        if location := _deepest(found.__traceback__, places, package):
            return location
        todo += [*parts, found.__cause__, found.__context__]
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}:{error.lineno}"
    return ""


def _deepest(trace: TracebackType | None, places: tuple[Path, ...], package: str) -> str:
    location = ""
    while trace is not None:
        name, module = trace.tb_frame.f_code.co_filename, trace.tb_frame.f_globals.get("__name__", "")
        if _is_in(name, places) or (package and str(module).partition(".")[0] == package):
            location = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return location


def _is_in(name: str, places: tuple[Path, ...]) -> bool:
    return not name.startswith("<") and any(_resolved(name).is_relative_to(place) for place in places)


@lru_cache(maxsize=4096)
def _resolved(name: str) -> Path:
    """Return a path without links. A backend that is down raises the same exception many times a second."""
    return Path(name).resolve()


def _format(error: BaseException, hidden: tuple[Path, ...] = ()) -> Iterator[str]:
    from traceback import TracebackException

    shown = TracebackException.from_exception(error)
    if hidden:
        _cut(shown, hidden)
    return shown.format()


def _cut(shown: TracebackException, hidden: tuple[Path, ...]) -> None:
    """Remove the frames of the engine from an exception and everything that is chained to it."""
    from traceback import StackSummary

    kind = shown.exc_type or Exception
    if shown.stack is not None:
        frames = list(shown.stack)
        first = next((i for i, frame in enumerate(frames) if not _is_below(frame.filename, hidden)), len(frames))
        if any(_is_in(frame.filename, hidden) for frame in frames[:first]):
            frames = frames[first:]
        while frames and issubclass(kind, FedtrackError) and _is_in(frames[-1].filename, hidden):
            frames.pop()  # its message is for the caller of fedtrack
        if frames:
            shown.stack = StackSummary.from_list(frames)
        elif issubclass(kind, SyntaxError):  # its message has file and line
            shown.stack = None  # type: ignore[assignment]
    for part in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if part is not None:
            _cut(part, hidden)


def _is_below(name: str, hidden: tuple[Path, ...]) -> bool:
    """Return whether a file is of the engine, or of the standard library, by which the engine starts a script."""
    if name.startswith("<frozen ") or _is_in(name, hidden):
        return True
    return "site-packages" not in name and _is_in(name, (Path(sysconfig.get_path("stdlib")).resolve(),))
