"""Long values: a parameter or tag that is too long for its record is shown cut, and is whole in an artifact."""

from __future__ import annotations

from hashlib import sha256
from time import time_ns
from typing import Any

from fedtrack.tracking import normalise
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Artifact, Param, Record, Tag

#: The part of a long value that is shown: MLflow shows 6,000 characters at most.
SHOWN_CHARS = 4_000


def valued_records(kind: type[Param] | type[Tag], key: Any, value: Any, blobs: BlobStore) -> list[Record]:
    """Return the record of a parameter or tag; of a long value also the artifact that holds it whole.

    Args:
        kind: The kind of record.
        key: Its key, as the script gave it.
        value: A normalised value.
        blobs: The store for a long value.

    Raises:
        Refused: The key is not valid.
        OSError: A long value cannot be stored.
    """
    now, name = time_ns(), normalise.key(key)
    if not isinstance(value, str) or len(value) <= SHOWN_CHARS:
        return [kind(now, name, value)]
    data = value.encode()
    if len(data) <= normalise.MAX_VALUE_BYTES:
        return [kind(now, name, value)]
    path = f"values/{sha256(data).hexdigest()[:32]}.txt"
    shown = f"{value[:SHOWN_CHARS]}... [cut; the whole value is the artifact {path}]"
    return [Artifact(now, path, blobs.put(data)), kind(now, name, shown)]
