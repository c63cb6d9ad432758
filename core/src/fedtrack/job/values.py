"""Values: the checks of the values in a job, the same for job files and for jobs in Python.

The annotated types show the same limits in the schema of job files; the functions word the errors.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.normalise import shorten

#: Stands in a deploy_map for every site; the names are given when the job is run.
ALL_SITES = "@ALL"

_NAME = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_NAME_PATTERN = re.compile(_NAME.replace("$", r"\Z"))

#: A name of a job, a site, an app folder, a workflow or a component.
Name = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": _NAME})]
Count = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1})]
Round = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0})]
#: Seconds, more than 0.
Seconds = Annotated[float, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0})]
#: Seconds; 0 means that there is no limit.
Timeout = Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 0})]
#: A cap; 0 means that there is none.
Cap = Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 0})]
Text = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1})]

#: The largest number of rounds, sites or processes: no job has as many, and loops over more would never end.
MAX_COUNT = 2**31 - 1


def check_name(where: str, value: str) -> None:
    """Check a name, which may become a part of a path, an id in a file or a label in a backend.

    Raises:
        ConfigError: It is empty, too long, or has another character.
    """
    if not _NAME_PATTERN.match(value):
        raise ConfigError(
            f"{where} is {shorten(value)}; use 1 to 64 letters, digits, '_', '-' and '.', with a letter or a digit at "
            "the start."
        )


def checked_names(where: str, values: Iterable[str] | str) -> list[str]:
    """Return names of sites as a list; a text has them separated by commas.

    Raises:
        ConfigError: There is none, one is not valid, or one is there twice.
    """
    names = [name.strip() for name in values.split(",")] if isinstance(values, str) else list(values)
    check_unique(where, names, "sites")
    for name in names:
        check_name(f"A name in {where}", name)
        if name == SERVER:
            raise ConfigError(f"{where} has {SERVER!r}, which is the server; give a site another name.")
    return names


def check_count(where: str, value: int | None, least: int = 1) -> None:
    """Check a number of things; None is always valid.

    Raises:
        ConfigError: It is less than ``least`` or more than any job has.
    """
    if value is not None and not least <= value <= MAX_COUNT:
        valid = f"it must be {least} or more" if value < least else f"it must be at most {MAX_COUNT:,}"
        raise ConfigError(f"{where} is {value}; {valid}.")


def check_seconds(where: str, value: float, *, zero: bool) -> None:
    """Check a number of seconds.

    Raises:
        ConfigError: It is negative or not finite, or it is 0 and ``zero`` is false.
    """
    if math.isfinite(value) and (value > 0 or (zero and value == 0)):
        return
    raise ConfigError(f"{where} is {value}; it must be {'0 or more' if zero else 'more than 0'} seconds.")


def check_cap(where: str, value: float) -> None:
    """Check a cap; 0 means that there is none.

    Raises:
        ConfigError: It is negative or not finite.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{where} is {value}; it must be a positive number, or 0 for no cap.")


def check_unique(where: str, values: Sequence[str], what: str) -> None:
    """Check that a list has something in it, and nothing twice.

    Raises:
        ConfigError: It is empty, or has an entry twice.
    """
    if not values:
        raise ConfigError(f"{where} is empty; name {what}, or leave it out for all.")
    check_no_repetition(where, values)


def check_no_repetition(where: str, values: Iterable[str]) -> None:
    """Check that a list has nothing twice.

    Raises:
        ConfigError: It has an entry twice.
    """
    known: set[str] = set()
    for value in values:
        if value in known:
            raise ConfigError(f"{where} names {shorten(value)} twice; once is enough.")
        known.add(value)


def check_words(where: str, value: str, *, needed: bool = False) -> list[str]:
    """Return the words of a command line, split as a shell splits them.

    Raises:
        ConfigError: A quote is not closed, or there is no word and one is ``needed``.
    """
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ConfigError(f"{where} is {shorten(value)}, which a shell cannot split: {error}.") from None
    if needed and not any(words):
        raise ConfigError(f"{where} is empty; give a command, such as 'python3 -u'.")
    return words
