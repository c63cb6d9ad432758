"""Parameters: MLflow never changes a parameter, so a changed value becomes a further parameter with its own name.

The first value of ``lr`` is the parameter ``lr``; a later, different one is ``lr changed <UTC time>``. The time is that
of the record, so a record that is delivered again gets the same name.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

_CHANGED = re.compile(r"\A(?P<first>.+) changed (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z)", re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ParamHistory:
    """The values of a run's parameters over time.

    Args:
        params: Names and values of the run's existing parameters.
        encode: Returns the name of a key.
    """

    def __init__(self, params: Mapping[str, str], encode: Callable[[str], str]) -> None:
        self._encode = encode
        # For each name its values by time. The time of the first value is "", which is before all others.
        self._values: dict[str, list[tuple[str, str]]] = {}
        for name, value in params.items():
            if match := _CHANGED.fullmatch(name):
                self._add(match["first"], match["time"], value)
            else:
                self._add(name, "", value)

    def name(self, key: str, value: str, time_ns: int) -> str | None:
        """Return the name under which to store ``value``, or None if ``key`` already has that value at that time."""
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
        """Return the values before and at ``time``; a record with one of them is delivered again or changes nothing."""
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
