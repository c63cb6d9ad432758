"""Normalisation: the arguments of a log call become values that a record may hold, or are refused with a reason.

The results are plain str, int and float objects. A subclass of these could override any method, and cannot be encoded.
"""

from __future__ import annotations

import reprlib
from typing import Any, SupportsFloat, SupportsIndex

#: Keys longer than this many UTF-8 bytes are refused: backends allow 250 characters at most.
MAX_KEY_BYTES = 1024

#: Of a parameter's or tag's value that has more UTF-8 bytes, a record holds only the beginning.
MAX_VALUE_BYTES = 16 * 1024

#: A lazily generated string may claim any length; more than this is refused before it is encoded.
MAX_TEXT_CHARS = 64 * 1024 * 1024

#: Steps and times are signed 64-bit integers, as every backend stores them.
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_MAX_REASON_CHARS = 500

#: No float64 needs more: a longer text is no numeral, and is not worth the time to parse it.
_MAX_NUMERAL_CHARS = 1_000

_abridged = reprlib.Repr()  # the repr of a list of a million numbers must not cost more than the log call
_abridged.maxother = _abridged.maxstring = 200


class Refused(ValueError):  # noqa: N818 - not an error of the program: the value becomes a Rejected record
    """A value that no record can hold; the message says why."""


def key(value: Any) -> str:
    """Return ``value`` if it can name a record."""
    if not isinstance(value, str):
        raise Refused(f"the key {shorten(value)} is a {type(value).__name__}; a key is a str")
    if plain := _plain("key", value, MAX_KEY_BYTES):
        return plain
    raise Refused("the key is empty")


def number(value: Any) -> float:
    """Return ``value``, any real number, numpy scalar or tensor of one element but not a bool, as a float64."""
    if type(value) is float:
        return value
    found = item(value)
    if isinstance(found, bool):
        raise Refused(f"the value {shorten(value)} is a bool; a metric is a number")
    if not isinstance(found, SupportsFloat | SupportsIndex) or isinstance(found, str | bytes):
        raise Refused(f"the value {shorten(value)} is a {type(value).__name__}; a metric is a number")
    try:
        return float(found)
    except Exception as error:  # an array of several elements, an int beyond float64, a hostile __float__
        raise Refused(f"the value {shorten(value)} is no float64: {error}") from None


def metric_value(value: Any) -> float:
    """Return ``value`` as a float64: what ``number`` takes, a bool as 1.0 or 0.0, and a str such as ``"0.5"``.

    torch, MLflow and W&B store bools so, and MLflow takes text that Python's ``float`` reads.
    """
    found = item(value)
    if isinstance(found, bool):
        return 1.0 if found else 0.0
    if isinstance(found, str) and str.__len__(found) <= _MAX_NUMERAL_CHARS:
        try:
            return float(str.__str__(found))
        except ValueError:
            raise Refused(f"the value {shorten(value)} is text and no number; a metric is a number") from None
    return number(value)


def step(value: Any) -> int | None:
    """Return ``value`` as a signed 64-bit step, or None."""
    return None if value is None else _integer("step", value)


def samples(value: Any) -> int | None:
    """Return ``value`` as a number of samples, or None."""
    if value is None:
        return None
    found = _integer("n", value)
    if found < 0:
        raise Refused(f"n is {shorten(value)}; it is a number of samples, 0 or more")
    return found


def wall_time(value: Any) -> int:
    """Return ``value`` as nanoseconds since the epoch."""
    return _integer("time", value)


def scalar(value: Any) -> str | int | float | bool | None:
    """Return a parameter's value: None, a bool, int, float or str as it is, anything else as its ``str()``."""
    found = item(value)
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, float):
        return float.__float__(found)
    if isinstance(found, int) and INT64_MIN <= found <= 2**64 - 1:
        return int.__index__(found)
    return text_value(found)  # msgpack has no integers beyond 64 bits; the text keeps every digit


def text_value(value: Any) -> str:
    """Return a tag's or parameter's value as a str."""
    return _plain("value", value if isinstance(value, str) else str(value), 4 * MAX_TEXT_CHARS)


def text(value: Any) -> str:
    """Return ``value`` if it is text that can be stored."""
    if not isinstance(value, str):
        raise Refused(f"the text {shorten(value)} is a {type(value).__name__}; text is a str")
    if len(value) > MAX_TEXT_CHARS:
        raise Refused(f"the text has {len(value):,} characters, more than {MAX_TEXT_CHARS:,}")
    return _plain("text", value, 4 * MAX_TEXT_CHARS)


def reason(error: Exception) -> str:
    """Return why a log call was refused, in one printable line."""
    try:
        message = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
    except Exception:  # the error comes from any object's methods, and its __str__ may raise as well
        message = type(error).__name__
    return printable(message, _MAX_REASON_CHARS)


def shorten(value: Any, limit: int = 60) -> str:
    """Return a short, printable repr of ``value``, also if its own ``__repr__`` raises."""
    try:
        if isinstance(value, str):
            value = str.__getitem__(value, slice(limit))
        elif isinstance(value, bytes):
            value = bytes.__getitem__(value, slice(limit))
        shown = _abridged.repr(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    return printable(shown, limit)


def printable(value: str, limit: int) -> str:
    """Return ``value`` cut to ``limit`` characters, with the control characters of a terminal escaped."""
    start = str.__getitem__(value, slice(limit + 1))
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def item(value: Any) -> Any:
    """Return the Python number in a numpy scalar, or in an array or tensor of one element; else ``value``."""
    try:
        return value.item()
    except Exception:  # no such method, or several elements
        return value


def _integer(what: str, value: Any) -> int:
    found = item(value)
    if isinstance(found, bool):
        raise Refused(f"the {what} {shorten(value)} is a bool; a {what} is an int")
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if not isinstance(found, int):
        raise Refused(f"the {what} {shorten(value)} is a {type(value).__name__}; a {what} is an int")
    plain = int.__index__(found)
    if not INT64_MIN <= plain <= INT64_MAX:
        raise Refused(f"the {what} {shorten(value)} does not fit into 64 bits")
    return plain


def _plain(what: str, value: str, limit: int) -> str:
    length = max(len(value), str.__len__(value))
    if length > limit:  # checked before the text is copied: a subclass may claim to have gigabytes
        raise Refused(f"the {what} has {length:,} characters, more than {limit:,} bytes")
    plain = str.__str__(value)
    try:
        size = len(plain.encode())
    except UnicodeEncodeError:
        raise Refused(f"the {what} {shorten(plain)} holds a lone surrogate, which UTF-8 cannot encode") from None
    if size > limit:
        raise Refused(f"the {what} has {size:,} bytes, more than {limit:,}")
    return plain
