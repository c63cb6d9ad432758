"""Checks: what the classes of a plugin must be; a class that is not valid is refused when its plugin is loaded.

The conformance kit (``fedtrack.testing``) has the same rules for a receiver, and many that need a backend. A job must
not find out about a wrong class in the middle of its run.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import FedtrackError
from fedtrack.plugins.workflow import Workflow, check_executable
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.records import KINDS
from fedtrack.tracking.writer import Writer

#: Interface numbers (``Receiver.api``, ``Writer.api``) that this version of the core serves.
SUPPORTED_APIS = (1,)

_NAME = re.compile(r"[a-z0-9_-]+")
_BASES = {"receiver": Receiver, "writer": Writer, "workflow": Workflow}


class OtherApiError(Exception):
    """A class was written for an interface that this core does not serve."""


def check_provided(kind: str, item: Any) -> None:
    """Check one thing that a plugin provides.

    Args:
        kind: One of ``KINDS_PROVIDED``.
        item: The class, or an example.

    Raises:
        TypeError: It is not valid; the message has the file and line of the class.
        OtherApiError: It was written for another core.
    """
    base = _BASES.get(kind)
    if base is not None and not (isinstance(item, type) and issubclass(item, base)):
        raise TypeError(f"fedtrack_{kind}s returned {item!r}, which is no subclass of {base.__name__}")
    if kind == "engine" and not isinstance(item, type):
        raise TypeError(f"fedtrack_engines returned {item!r}, which is no class")
    try:
        _check(kind, item)
    except TypeError as error:
        place = place_of_class(item)
        raise TypeError(f"{error} ({place})" if place else str(error)) from error


def _check(kind: str, item: Any) -> None:
    if kind == "workflow":
        check_executable(item)  # its fields are checked when a job names it
        return
    shown = getattr(item, "__name__", repr(item))
    for attribute in ("name", "summary"):
        if not isinstance(getattr(item, attribute, None), str):
            raise TypeError(f"{shown}.{attribute} is missing; it must be a str")
    if kind == "aggregator":
        _check_aggregator(item, shown)
    if kind in ("receiver", "writer"):
        if not _NAME.fullmatch(item.name):
            raise TypeError(f"{shown}.name is {item.name!r}; a name has the characters a-z, 0-9, _ and -")
        if not item.summary.strip() or "\n" in item.summary:
            raise TypeError(f"{shown}.summary is {item.summary!r}; it must be one line for listings")
        _check_api(item, shown)
    if kind == "receiver":
        _check_receiver(item, shown)


def _check_api(item: Any, shown: str) -> None:
    if item.api not in SUPPORTED_APIS:
        served = ", ".join(map(str, SUPPORTED_APIS))
        raise OtherApiError(f"{shown} is written for api {item.api!r}, this core serves {served}")


def _check_aggregator(item: Any, shown: str) -> None:
    """Check that ``item`` makes aggregators: it is a class, or replaces one that listings must not import."""
    if not callable(item):
        raise TypeError(f"fedtrack_aggregators returned {item!r}; return the class, not an instance")
    if isinstance(item, type):
        missing = {name for name in ("accept", "result") if not callable(getattr(item, name, None))}
        for name in sorted(missing | set(getattr(item, "__abstractmethods__", ()))):
            raise TypeError(f"{shown}.{name}() is missing; an aggregator has the methods accept and result")


def _check_receiver(item: type[Receiver], shown: str) -> None:
    supports = getattr(item, "supports", None)
    if not isinstance(supports, frozenset) or not supports:
        found = "is missing" if supports is None else f"is {supports!r}"
        raise TypeError(f"{shown}.supports {found}; it must be a frozenset of record classes, at least one")
    if wrong := [kind for kind in supports if kind not in KINDS.values()]:
        valid = ", ".join(kind.__name__ for kind in KINDS.values())
        raise TypeError(
            f"{shown}.supports has {wrong[0]!r}; valid are the classes {valid} of fedtrack.tracking.records"
        )
    for attribute in ("aliases", "requires"):
        names = getattr(item, attribute)
        if not isinstance(names, tuple | list) or not all(isinstance(name, str) and name for name in names):
            raise TypeError(f"{shown}.{attribute} is {names!r}; it must be a tuple of names, such as ('sqlite3',)")
    if not isinstance(item.install, str):
        raise TypeError(f"{shown}.install is {item.install!r}; it must be a command as a str")
    for name in sorted(item.__abstractmethods__):
        raise TypeError(f"{shown}.{name}() is missing; a receiver has the methods open and receive")
    _check_options(item)


def _check_options(item: type[Receiver]) -> None:
    """Check the options and their defaults, then construct a receiver with the defaults as a job does."""
    options = item.Options
    fields = msgspec.structs.fields(options)
    for field in fields:
        if field.required:
            continue
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        try:
            msgspec.convert(default, field.type, dec_hook=_as_it_is)
        except msgspec.ValidationError as error:
            raise TypeError(f"{options.__name__}.{field.name} has the default {default!r}: {error}") from None
    if not any(field.required for field in fields):
        with suppress(FedtrackError):  # the options may be valid only together with others
            item()


def _as_it_is(kind: type, value: object) -> object:
    if not isinstance(value, kind):
        raise msgspec.ValidationError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
    return value


def place_of_class(item: Any) -> str:
    """Return ``file:line`` of a class; "" if it has no source."""
    cls = item if isinstance(item, type) else type(item)
    try:
        return f"{Path(inspect.getsourcefile(cls) or '').resolve()}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return ""


def returned_list(hook: str, results: Iterable[Any]) -> list[Any]:
    """Return what the implementations of a hook returned as one list.

    Raises:
        TypeError: One returned no list.
    """
    results = list(results)
    for result in results:
        if not isinstance(result, Iterable) or isinstance(result, type | str):
            raise TypeError(f"{hook} returned {result!r}; it must return a list, also of one")
    return [item for result in results for item in result]
