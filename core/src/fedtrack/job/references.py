"""References: a job writes ``${ENV:NAME}`` instead of a secret, and the process that uses the value resolves it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fedtrack.errors import ConfigError
from fedtrack.redaction import SECRET_NAME, Secret, hide, hide_parts

REFERENCE = re.compile(r"\$\{ENV:([A-Za-z_][A-Za-z0-9_]{0,255})\}")

# Bounded, so that the search is linear in any text.
_PASSWORD = re.compile(r"://[^/\s:@]{0,256}:[^/\s@]{1,1024}@")
_QUERY = re.compile(r"[?&;#]([^\s=&;?#]{1,64})=([^\s&;#]{1,1024})")


def refuse_secrets(value: Any, where: str, key: str = "") -> None:
    """Check that a job contains no secret itself, only ``${ENV:NAME}``, which the process that uses it resolves.

    A secret is a value whose name says so (``api_key``, ``token``), the password of an address, and a value in its
    query whose name says so (``?token=...``).

    Raises:
        ConfigError: A value looks like a secret; the message names the place and not the value.
    """
    for place, name, text in _texts(value, where, key):
        if _looks_secret(name, text):
            raise ConfigError(
                f"{place} holds a secret; write ${{ENV:NAME}} instead and set the variable where the value is used."
            )


def _texts(value: Any, where: str, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield each text in ``value`` with its place and the name that it has there."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, f"{where}.{name}", str(name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, f"{where}[{index}]", key)
    elif isinstance(value, str):
        yield where, key, value


def _looks_secret(key: str, value: str) -> bool:
    if value and SECRET_NAME.search(key) and not REFERENCE.search(value):
        return True
    rest = REFERENCE.sub("", value)
    return "://" in rest and (
        bool(_PASSWORD.search(rest)) or any(SECRET_NAME.search(name) for name, _ in _QUERY.findall(rest))
    )


def names_in(value: Any) -> dict[str, str]:
    """Return the variables that ``value`` refers to, each with the place of its first use below ``value``."""
    found: dict[str, str] = {}
    for place, _, text in _texts(value, "", ""):
        for name in REFERENCE.findall(text):
            found.setdefault(name, place)
    return found


def resolve_references(value: Any, environment: Mapping[str, str], where: str) -> Any:
    """Return ``value`` with every ``${ENV:NAME}`` replaced from ``environment``.

    From now on no text of this process shows what was put in: see ``fedtrack.redaction``.

    Raises:
        ConfigError: A variable is not set, or ``value`` holds a secret itself.
    """
    refuse_secrets(value, where)
    return _resolved(value, environment, where)


def _resolved(value: Any, environment: Mapping[str, str], where: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(item, environment, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(item, environment, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str) or not REFERENCE.search(value):
        return value

    def lookup(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise ConfigError(f"{where} needs the environment variable {match[1]}, which is not set; set it here.")
        found = environment[match[1]]
        hide(found, match[0])
        hide_parts(found, match[0])
        return found

    text = REFERENCE.sub(lookup, value)
    hide_parts(text, value)
    return Secret(text, value)


def resolve_here(args: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return arguments with every reference resolved from this process's environment; see ``resolve_references``."""
    found: dict[str, Any] = resolve_references(args, os.environ, where)
    return found
