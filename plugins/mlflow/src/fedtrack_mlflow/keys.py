"""Keys: every key gets a name that MLflow accepts, always the same one, and different from that of any other key.

MLflow allows up to 250 letters, digits and ``_ - . space : /`` in names, and only normalised paths. A readable name
is tried first, see ``names.py``. Otherwise, and in the paths of artifacts, each refused character is written as
``_0x<hex>_`` (``acc@5`` is ``acc_0x40_5``), so that the name can be decoded. A name longer than ``MAX_BYTES`` is cut,
and ends in ``_sha256_<digest of the key>``.
"""

from __future__ import annotations

import hashlib
import re

#: The most bytes of a name in UTF-8; bytes count because the file store uses the name as a file name.
MAX_BYTES = 250

#: Prefixes of tags that MLflow or the receiver uses itself; a site must not set them.
RESERVED_PREFIXES = ("mlflow.", "fedtrack.")

#: The tag with the run's description, which a script may set.
NOTE = "mlflow.note.content"

_START = r"(?:\A|(?<=/))"
_UNSAFE = re.compile(
    r"[^\w\-. :/]"
    rf"|{_START}/|/\Z"  # an empty path component
    rf"|{_START}\.(?=\.?(?:/|\Z))|\A\.(?=\.)"  # the components "." and "..", and names that begin with ".."
    r"|_(?=0x[0-9a-f])"  # text that would look like an escape
)
_ESCAPE = re.compile(r"_0x([0-9a-f]+)_")
_CUT = re.compile(r"_sha256_[0-9a-f]{64}\Z")


#: Words for the refused characters that names of metrics often have.
_WORDS = {"@": "_at_", "%": "_pct_", "=": "_eq_", "+": "_plus_", "<": "_lt_", ">": "_gt_", "&": "_and_"}


def readable(key: str) -> str:
    """Return a name of words for a key that MLflow refuses; "" if it would not be one.

    Two keys may have the same readable name.
    """
    words = re.sub(r"[^\w\-. :/]", lambda match: _WORDS.get(match[0], "_"), key)
    name = re.sub(r"(?:(?<! ) +)?_+ *", "_", words).strip("_ ")
    legal = name and len(name.encode()) <= MAX_BYTES and not _UNSAFE.search(name) and not _CUT.search(name)
    return name if legal and not name.startswith(RESERVED_PREFIXES) and re.search(r"\w", name) else ""


def encode(key: str) -> str:
    """Return the name of a metric or parameter that no other key has."""
    return _fit(_UNSAFE.sub(_escape, key), key)


def encode_tag(key: str) -> str:
    """Return the name of a tag that a site sets; it never starts with a reserved prefix, except for the run's note."""
    if key == NOTE:
        return key
    if key.startswith(RESERVED_PREFIXES):
        return _fit(f"_0x{ord(key[0]):x}_" + _UNSAFE.sub(_escape, key[1:]), key)
    return encode(key)


def encode_path(path: str) -> str:
    """Return the path of an artifact, which is relative and has no colon: servers may take a colon for a drive."""
    return _fit(_UNSAFE.sub(_escape, path).replace(":", "_0x3a_"), path)


def encode_flat(key: str) -> str:
    """Return a name without ``/`` that differs from ``encode(key)``."""
    return _fit(f"_0x{ord(key[0]):x}_" + _UNSAFE.sub(_escape, key[1:]).replace("/", "_0x2f_"), key)


def decode(name: str) -> str | None:
    """Return the key of a name that is not in the table of its run; None if the name was cut."""
    if _CUT.search(name):
        return None
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)


def _escape(match: re.Match[str]) -> str:
    return f"_0x{ord(match[0]):x}_"


def _fit(name: str, key: str) -> str:
    # A short key that looks like a cut name is treated like a long one, so that their names cannot be equal.
    if name and len(name.encode()) <= MAX_BYTES and not _CUT.search(name):
        return name
    ending = f"_sha256_{hashlib.sha256(key.encode()).hexdigest()}"
    return name.encode()[: MAX_BYTES - len(ending)].decode(errors="ignore") + ending
