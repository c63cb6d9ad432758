"""Finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How a finding is."""

    #: As it should be, or not used here.
    OK = "ok"
    #: It works, and somebody may want to know more.
    NOTE = "note"
    #: Something does not work until somebody acts.
    ACTION = "action"


class Finding(NamedTuple):
    """One line of the diagnosis.

    Attributes:
        name: What was looked at, such as ``Python`` or ``plugin mlflow``.
        level: How it is.
        found: What was found, in one line.
        remedy: What to do; "" if nothing needs to be done.
    """

    name: str
    level: Level
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(name, Level.OK, found)


def note(name: str, found: str, remedy: str = "") -> Finding:
    """Return a finding that stops nothing."""
    return Finding(name, Level.NOTE, found, remedy)


def action(name: str, found: str, remedy: str) -> Finding:
    """Return a finding that somebody has to act on."""
    return Finding(name, Level.ACTION, found, remedy)
