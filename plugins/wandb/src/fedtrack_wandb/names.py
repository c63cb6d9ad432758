"""Encodes names that W&B refuses or uses itself, reversibly."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

#: The key under which a row carries the script's step; the x-axis of every key that was logged with one.
STEP_KEY = "global_step"

#: The config key under which the receiver says where a run comes from, and the prefix of tags among config keys.
OWN_KEY = "fedtrack"
TAG_PREFIX = "tags/"

#: Keys that W&B fills in itself; a script's value would silently replace W&B's.
_RESERVED = {"_step", "_runtime", "_timestamp", "_wandb"}

#: What W&B cannot take in a key: control characters (it names files after keys), the wildcard of
#: define_metric, hyphens at the ends (it strips them from config keys) - and what looks encoded already.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f*]|^-|-\Z|%(?=[0-9A-Fa-f]{2})")

_SPECIAL_SEGMENTS = {"": "%", ".": "%2E", "..": "%2E%2E"}

_RUN_ID = re.compile(r"[^A-Za-z0-9_-]")


def encode(key: str) -> str:
    """Return the key under which W&B keeps ``key``: the same one, unless W&B could not hold it."""
    if key in _RESERVED:
        return _percent(key[0]) + key[1:]
    return _UNSAFE.sub(lambda match: _percent(match[0]), key)


def encode_axis(key: str) -> str:
    """Return ``key`` encoded for a row whose ``global_step`` is already taken by the record's step."""
    return _percent(key[0]) + key[1:] if key == STEP_KEY else encode(key)


def encode_setting(key: str) -> str:
    """Return the config key of a parameter, apart from the keys of tags and the receiver's own."""
    if key == OWN_KEY or key.startswith(TAG_PREFIX):
        return _percent(key[0]) + encode(key[1:])
    return encode(key)


def encode_path(path: str) -> str:
    """Return a relative path for ``path`` that cannot lead out of the folder it is put into."""
    return "/".join(_SPECIAL_SEGMENTS.get(segment, encode(segment)) for segment in path.split("/"))


def decode(key: str) -> str:
    """Return the key that was encoded."""
    return unquote(key)


def run_id(run: str, site: str) -> str:
    """Return the W&B run id of a site in a run: always the same, at most 115 characters, distinct per site."""
    plain = _RUN_ID.sub("-", site)[:40]
    if plain != site:
        plain += "-" + hashlib.sha256(site.encode()).hexdigest()[:8]
    return f"{run}-{plain}"


def _percent(character: str) -> str:
    return f"%{ord(character):02X}"
