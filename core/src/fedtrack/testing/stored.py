"""Stored: one thing that a backend holds, read back from its real store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedtrack.tracking.records import Metric, Record


@dataclass(frozen=True, slots=True)
class Stored:
    """One point, parameter, tag or file in the backend, as ``ReceiverContract.read`` returns it.

    Attributes:
        site: The site that logged it.
        key: The key as the script wrote it, decoded if the receiver had to encode it; an artifact's path.
        value: A float for a Metric, a str for a Tag or a Text, bytes for an Image or an Artifact,
            ``(edges, counts)`` for a Histogram; for a Param the value that the backend gives back.
        step: The step that the backend shows, or None if it has none.
        time_ns: The wall time that the backend shows, nanoseconds since the epoch, or None if it has none.
        kind: The kind of record that it came from.
    """

    site: str
    key: str
    value: Any
    step: int | None = None
    time_ns: int | None = None
    kind: type[Record] = Metric
