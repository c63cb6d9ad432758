"""Names for a run's parameters: MLflow never changes one, so a value that changed becomes a further parameter.

The first value of ``lr`` is the parameter ``lr``; a later, different one is ``lr changed <UTC time>``. The time is
the record's own, so a record that is delivered again gets the same name.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

_CHANGED = re.compile(r"(?P<first>.+) changed (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z)", re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ParamHistory:
    """What a run's parameters were, and when.

    Args:
        params: Names and values that the run already has.
        encode: Returns the name of a key.
    """

    def __init__(self, params: Mapping[str, str], encode: Callable[[str], str]) -> None:
        self._encode = encode
        # Per name the values by time; the first one counts from the beginning of time, which is "".
        self._values: dict[str, list[tuple[str, str]]] = {}
        for name, value in params.items():
            if match := _CHANGED.fullmatch(name):
                self._add(match["first"], match["time"], value)
            else:
                self._add(name, "", value)

    def name(self, key: str, value: str, time_ns: int) -> str | None:
        """Return the name under which to store ``value``, or None if ``key`` has that value at that time."""
        first = self._encode(key)
        if first not in self._values:
            self._add(first, "", value)
            return first
        time = _time(time_ns)
        if value in self._in_force(first, time):
            return None
        self._add(first, time, value)
        return self._encode(f"{key} changed {time}")

    def _in_force(self, name: str, time: str) -> tuple[str, str]:
        """Return the values just before and at ``time``: a record that set one of them is here again."""
        values = self._values[name]
        before = bisect_left(values, time, key=_time_of)
        after = bisect_right(values, time, key=_time_of)
        return values[max(0, before - 1)][1], values[max(0, after - 1)][1]

    def _add(self, name: str, time: str, value: str) -> None:
        values = self._values.setdefault(name, [])
        values.insert(bisect_right(values, time, key=_time_of), (time, value))


def _time_of(entry: tuple[str, str]) -> str:
    return entry[0]


def _time(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"
