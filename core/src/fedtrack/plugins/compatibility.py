"""Compatibility: whether this core is in the range of versions that a plugin's distribution declares.

pip checks the range when it installs the plugin, but not when it later replaces core beside a plugin of an extra.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_REQUIRES_CORE = re.compile(r"fedtrack\s*(?![\w.-])", re.IGNORECASE)
_OF_AN_EXTRA = re.compile(r";\s*extra\s*==[^=]*\Z")
_PLAIN_RANGE = re.compile(r"fedtrack(,?(>=|<)\d+(\.\d+)*)+", re.IGNORECASE | re.ASCII)
_PLAIN_BOUND = re.compile(r"(>=|<)([\d.]+)", re.ASCII)
_PLAIN_VERSION = re.compile(r"\d+(\.\d+)*", re.ASCII)


def why_incompatible(requires: Iterable[str]) -> str:
    """Return the versions of core that the requirements allow if this one is not among them, else ""."""
    needed = [line for line in requires if _REQUIRES_CORE.match(line) and not _OF_AN_EXTRA.search(line)]
    current = _core_version()
    if current is None:
        return ""
    return next(filter(None, (_why_not(line, current) for line in needed)), "")


@cache
def _core_version() -> str | None:
    try:
        return version("fedtrack")
    except PackageNotFoundError:  # run from a source tree: there is no version to compare with
        return None


def plainly_met(requirement: str, current: str) -> bool:
    """Return whether ``current`` is in a simple range such as ``>=0.1,<0.2``; False for any other form.

    Nearly every plugin declares such a range, and the import of packaging would cost a listing 30 ms.
    """
    compact = requirement.replace(" ", "")
    if not _PLAIN_RANGE.fullmatch(compact) or not _PLAIN_VERSION.fullmatch(current):
        return False
    have = _numbers(current)
    return all(have >= _numbers(v) if op == ">=" else have < _numbers(v) for op, v in _PLAIN_BOUND.findall(compact))


def _numbers(release: str) -> tuple[int, ...]:
    numbers = [int(part) for part in release.split(".")]
    while numbers and not numbers[-1]:  # 0.2 and 0.2.0 are one version
        del numbers[-1]
    return tuple(numbers)


def _why_not(line: str, current: str) -> str:
    if plainly_met(line, current):
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        return f"its requirement on fedtrack cannot be read: {error}"
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return ""
    if requirement.specifier.contains(current, prereleases=True):
        return ""
    return f"needs fedtrack{requirement.specifier}, this is fedtrack {current}"
