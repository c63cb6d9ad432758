"""Names: a reversible encoding for names that W&B refuses or uses itself."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote

#: The key of the script's step in a row, which is the x-axis of every key that was logged with a step.
STEP_KEY = "global_step"

#: The config key under which the receiver stores the origin of a run, and the prefix of tags among config keys.
OWN_KEY = "fedtrack"
TAG_PREFIX = "tags/"

#: Keys that W&B sets itself; a script's value would silently replace W&B's.
_RESERVED = {"_step", "_runtime", "_timestamp", "_wandb"}

#: Parts of a key that W&B cannot take: control characters (it names files after keys), the wildcard of
#: define_metric, and hyphens at the ends (it strips them from config keys). Also parts that look encoded already.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f*]|^-|-\Z|%(?=[0-9A-Fa-f]{2})")

_SPECIAL_SEGMENTS = {"": "%", ".": "%2E", "..": "%2E%2E"}

_RUN_ID = re.compile(r"[^A-Za-z0-9_-]")


def encode(key: str) -> str:
    """Return the key under which W&B stores ``key``: the same one, unless W&B cannot hold it."""
    if key in _RESERVED:
        return _percent(key[0]) + key[1:]
    return _UNSAFE.sub(lambda match: _percent(match[0]), key)


def encode_axis(key: str) -> str:
    """Return ``key``, encoded so that it differs from ``global_step``, which holds the record's step."""
    return _percent(key[0]) + key[1:] if key == STEP_KEY else encode(key)


def encode_setting(key: str) -> str:
    """Return the config key of a parameter, which differs from the keys of tags and of the receiver."""
    if key == OWN_KEY or key.startswith(TAG_PREFIX):
        return _percent(key[0]) + encode(key[1:])
    return encode(key)


def encode_path(path: str) -> str:
    """Return ``path`` as a relative path that stays inside of its folder."""
    return "/".join(_SPECIAL_SEGMENTS.get(segment, encode(segment)) for segment in path.split("/"))


def free_path(folder: Path, path: str) -> Path:
    """Return where an encoded path is stored below ``folder``.

    A script may log ``notes`` as a file and ``notes/a.txt`` beside it, which no file system holds together. The later
    one of the two gets ``%2F`` behind the part that is taken; no encoded name ends with that.
    """
    *folders, name = path.split("/")
    for part in folders:
        folder = folder / part
        if folder.exists() and not folder.is_dir():
            folder = folder.with_name(part + _percent("/"))
    found = folder / name
    return folder / (name + _percent("/")) if found.is_dir() else found


def decode(key: str) -> str:
    """Return the original of an encoded key."""
    return unquote(key)


def run_id(run: str, site: str) -> str:
    """Return the W&B run id of a site in a run: always the same, different for each site, at most 115 characters."""
    plain = _RUN_ID.sub("-", site)[:40]
    if plain != site:
        plain += "-" + hashlib.sha256(site.encode()).hexdigest()[:8]
    return f"{run}-{plain}"


def _percent(character: str) -> str:
    return f"%{ord(character):02X}"
