"""Redaction: the value behind ``${ENV:NAME}`` is replaced by its reference in every text that leaves this process.

The one place where references are resolved hides their values here. From then on log records, error messages,
tracebacks, output and summaries show ``${ENV:NAME}`` instead, whoever has written the text, such as the SDK of a
backend.

A value may also be a port, a switch or a common word, and a text without those would be garbage. So not hidden are
values of fewer than ``LEAST`` characters, ports and the words in ``COMMON``. Shorter values than ``LONG`` are hidden
where they are words of their own. The password of an address is hidden whatever it is.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import logging

#: The fewest characters of a value that is hidden, and of one that is hidden inside other words, too.
LEAST, LONG = 4, 8

#: Values that are no secrets even where somebody uses them as one.
_WORDS = """
admin auto debug default disabled enabled false guest http https info localhost mlflow mysql none null offline online
postgres postgresql private public root sqlite tensorboard test true user wandb
"""
COMMON = frozenset(_WORDS.split())

#: The name of an argument, or of a part of an address, whose value is a secret.
SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:api[_-]?key|access[_-]?key|private[_-]?key|secret|secret[_-]?key|token|sig|signature|password|passwd"
    r")$",
    re.IGNORECASE,
)

#: What stands for a password that nobody has hidden.
STARS = "***"

# Bounded, so that the search is linear in any text.
_USERINFO = re.compile(r"(?<=://)([^\s/?#@:\"']{0,256}):[^\s/?#@\"']{1,256}@")


class Secret(str):
    """A resolved value: a text for whoever uses it, and a reference for whoever shows or stores it."""

    __slots__ = ("reference",)
    reference: str

    def __new__(cls, value: str, reference: str) -> Secret:
        """Return ``value`` as a text that is shown as ``reference``."""
        made = super().__new__(cls, value)
        made.reference = reference
        return made

    def __repr__(self) -> str:
        return repr(self.reference)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self.reference} is a secret, which is not stored")


class _Hidden:
    """The values of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str, reference: str) -> None:
        with self._lock:
            new = {form.lower(): reference for form in _forms(value) if form.lower() not in self._names}
            if not new:
                return
            first = not self._names
            names = self._names | new
            words = sorted(names, key=len, reverse=True)  # a value that contains another one comes first
            pattern = re.compile("|".join(map(_pattern_of, words)), re.IGNORECASE)
            self._names, self._pattern = names, pattern
        if first:
            _watch_process()

    def replaced(self, text: str) -> str:
        pattern, names = self._pattern, self._names
        if pattern is None:
            return text
        return pattern.sub(lambda match: names.get(match[0].lower(), STARS), text)


def _pattern_of(form: str) -> str:
    return re.escape(form) if len(form) >= LONG else rf"(?<![^\W_]){re.escape(form)}(?![^\W_])"


def _is_hidden(value: str) -> bool:
    return len(value) >= LEAST and value.lower() not in COMMON and not (value.isdecimal() and len(value) < LONG)


def _forms(value: str) -> Iterator[str]:
    """Yield the value as it may stand in a text: whole, line by line, and as the usual encodings write it."""
    import base64
    import html
    import json
    from urllib.parse import quote, quote_plus

    for part in dict.fromkeys((value, value.strip(), *map(str.strip, value.splitlines()))):
        if not _is_hidden(part):
            continue
        data = part.encode(errors="surrogateescape")
        yield part
        yield from (repr(part)[1:-1], json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
        yield from (quote(data), quote(data, safe=""), quote_plus(data), html.escape(part))
        yield from (base64.b64encode(data).decode().rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("="))


_HIDDEN = _Hidden()


def hide(value: str, reference: str) -> None:
    """Replace ``value`` in every text of this process by ``reference``; see the module about short values."""
    if _is_hidden(value.strip()):
        _HIDDEN.add(value, reference)


def hide_parts(text: str, reference: str) -> None:
    """Hide what is secret in an address: its password, and the values in its query whose names say so."""
    from urllib.parse import parse_qsl, unquote, urlsplit

    try:
        parts = urlsplit(text)
        password, query = parts.password or "", parse_qsl(parts.query)
    except ValueError:
        return
    if password:
        hide(password, reference)
        hide(unquote(password), reference)
        # As a header has it.
        hide(f"{unquote(parts.username or '')}:{unquote(password)}", reference)
    for name, value in query:
        if SECRET_NAME.search(name):
            hide(value, reference)


def redact(text: str) -> str:
    """Return ``text`` with a reference in the place of each hidden value, and without the passwords of addresses."""
    text = _HIDDEN.replaced(text)
    return _USERINFO.sub(rf"\1:{STARS}@", text) if "://" in text and "@" in text else text


def _watch_process() -> None:
    """Let log records and tracebacks of this process pass ``redact``."""
    import logging

    make = logging.getLogRecordFactory()

    def redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return _redacted_record(make(*args, **kwargs))

    logging.setLogRecordFactory(redacted)
    show, show_of_thread, show_of_finalizer = sys.excepthook, threading.excepthook, sys.unraisablehook

    def shown(kind: Any, error: Any, trace: Any) -> None:
        if not _show_redacted(kind, error, trace):
            show(kind, error, trace)

    def shown_of_thread(args: threading.ExceptHookArgs, /) -> None:
        if not _show_redacted(args.exc_type, args.exc_value, args.exc_traceback):
            show_of_thread(args)

    def shown_of_finalizer(args: Any, /) -> None:
        if not _show_redacted(args.exc_type, args.exc_value, args.exc_traceback):
            show_of_finalizer(args)

    sys.excepthook, threading.excepthook, sys.unraisablehook = shown, shown_of_thread, shown_of_finalizer


def _redacted_record(record: logging.LogRecord) -> logging.LogRecord:
    try:
        message = record.getMessage()
    except Exception:  # logging itself says what is wrong with the call
        return record
    if (found := redact(message)) != message:
        record.msg, record.args = found, ()
    if record.exc_info and record.exc_info[1] is not None:
        import traceback

        text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (found := redact(text)) != text:
            # Formatters show a text that is there, and some read the exception beside it.
            record.exc_text, record.exc_info = found, None
    return record


def _show_redacted(kind: Any, error: Any, trace: Any) -> bool:
    """Print a traceback if it has to be changed; return whether that was so."""
    import traceback

    text = "".join(traceback.format_exception(kind, error, trace))
    if (found := redact(text)) == text:
        return False
    if sys.stderr is not None:
        print(found, end="", file=sys.stderr, flush=True)
    return True
