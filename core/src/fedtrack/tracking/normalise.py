"""Turns what a script passes to a log call into what a record may hold, or says why it cannot."""

from __future__ import annotations

from typing import Any, SupportsFloat, SupportsIndex

#: Keys longer than this many UTF-8 bytes are refused: backends allow 250 characters at most.
MAX_KEY_BYTES = 1024

#: Parameter and tag values longer than this many UTF-8 bytes are refused: MLflow keeps 8,000 characters.
MAX_VALUE_BYTES = 16 * 1024

#: A lazily generated string may claim any length; more than this is refused before it is encoded.
MAX_TEXT_CHARS = 64 * 1024 * 1024

_STEP_MIN, _STEP_MAX = -(2**63), 2**63 - 1


class Refused(ValueError):  # noqa: N818 - not an error of the program: the value becomes a Rejected record
    """A value that no record can hold; the message says why."""


def key(value: Any) -> str:
    """Return ``value`` if it can name a record."""
    if not isinstance(value, str):
        raise Refused(f"the key {shorten(value)} is a {type(value).__name__}; a key is a str")
    if not value:
        raise Refused("the key is empty")
    _check_utf8("key", value, MAX_KEY_BYTES)
    return str(value)


def number(value: Any) -> float:
    """Return ``value`` as a float64: any real number, numpy scalar or tensor of one element, but no bool."""
    if type(value) is float:
        return value
    item = value.item() if hasattr(value, "item") and getattr(value, "size", 1) != 0 else value
    if isinstance(item, bool):
        raise Refused(f"the value {shorten(value)} is a bool; a metric is a number")
    if not isinstance(item, SupportsFloat | SupportsIndex) or isinstance(item, str | bytes):
        raise Refused(f"the value {shorten(value)} is a {type(value).__name__}; a metric is a number")
    try:
        return float(item)
    except (OverflowError, ValueError, TypeError) as error:
        raise Refused(f"the value {shorten(value)} is no float64: {error}") from None


def step(value: Any) -> int | None:
    """Return ``value`` as a signed 64-bit step, or None."""
    if value is None:
        return None
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool):
        raise Refused(f"the step {shorten(value)} is a bool; a step is an int")
    if isinstance(item, float) and item.is_integer():
        item = int(item)
    if not isinstance(item, int):
        raise Refused(f"the step {shorten(value)} is a {type(value).__name__}; a step is an int")
    if not _STEP_MIN <= item <= _STEP_MAX:
        raise Refused(f"the step {shorten(value)} does not fit into 64 bits")
    return item


def scalar(value: Any) -> str | int | float | bool | None:
    """Return a parameter's value: None, bool, int, float or str as they are, anything else as its str."""
    item = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    if item is None or isinstance(item, bool | float):
        return item
    if isinstance(item, int):
        # msgpack has no integers beyond 64 bits; the text keeps every digit.
        return item if _STEP_MIN <= item <= 2**64 - 1 else text_value(item)
    return text_value(item)


def text_value(value: Any) -> str:
    """Return a tag's or parameter's value as a str."""
    text = value if isinstance(value, str) else str(value)
    _check_utf8("value", text, MAX_VALUE_BYTES)
    return str(text)


def text(value: Any) -> str:
    """Return ``value`` if it is text that can be stored."""
    if not isinstance(value, str):
        raise Refused(f"the text {shorten(value)} is a {type(value).__name__}; text is a str")
    if len(value) > MAX_TEXT_CHARS:
        raise Refused(f"the text has {len(value):,} characters, more than {MAX_TEXT_CHARS:,}")
    _check_utf8("text", value, 4 * MAX_TEXT_CHARS)
    return str(value)


def shorten(value: Any, limit: int = 60) -> str:
    """Return a printable repr of ``value`` that is never long and never raises."""
    try:
        # A huge or hostile __repr__ must not cost more than the log call itself.
        if isinstance(value, str | bytes) and len(value) > limit:
            value = value[:limit]
        shown = repr(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _check_utf8(what: str, value: str, limit: int) -> None:
    if len(value) > limit:  # before encoding: a str subclass may claim gigabytes
        raise Refused(f"the {what} has {len(value):,} characters, more than {limit:,} bytes")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Refused(f"the {what} {shorten(value)} holds a lone surrogate, which UTF-8 cannot encode") from None
    if size > limit:
        raise Refused(f"the {what} has {size:,} bytes, more than {limit:,}")
