"""JsonText: JSON of other processes and people, whose size and depth are not what a program would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")

#: The most bytes of a file: far more than a summary with 10,000 sites has.
LARGEST = 256 * 1024 * 1024


def decode_json(data: bytes | str, type: type[_T], **options: Any) -> _T:
    """Return JSON as ``type``, as ``msgspec.json.decode`` does.

    Raises:
        msgspec.DecodeError: It is no JSON, too deep, not UTF-8, or not valid for the type.
    """
    try:
        value: _T = msgspec.json.decode(data, type=type, **options)
    except RecursionError:
        raise msgspec.DecodeError("it has lists or objects in each other, too deep to be read") from None
    except UnicodeError:
        raise msgspec.DecodeError("it is not UTF-8") from None
    return value


def read_json_file(path: Path, type: type[_T], **options: Any) -> _T:
    """Return the content of a file; see ``decode_json``.

    Raises:
        OSError: The file cannot be read.
        msgspec.DecodeError: Its content is not valid, or it is too large.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise msgspec.DecodeError(f"it has more than {LARGEST:,} bytes")
    return decode_json(data, type, **options)
