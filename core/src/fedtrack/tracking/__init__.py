"""Tracking: records, the writers that make them and the receivers that take them.

Modules here import each other and ``fedtrack.errors``, and nothing else of fedtrack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.tracking.blobs import BlobStore
    from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT, SERVER, Batch
    from fedtrack.tracking.media_writer import MediaWriter
    from fedtrack.tracking.normalise import Refused, shorten
    from fedtrack.tracking.receiver import Receiver, ReceiverOptions, Results, RunInfo
    from fedtrack.tracking.tables import Table, table_of
    from fedtrack.tracking.writer import Writer, bind

_HOMES = {
    "Batch": "fedtrack.tracking.events",
    "BlobStore": "fedtrack.tracking.blobs",
    "FED_EVENT": "fedtrack.tracking.events",
    "LOCAL_EVENT": "fedtrack.tracking.events",
    "MediaWriter": "fedtrack.tracking.media_writer",
    "Receiver": "fedtrack.tracking.receiver",
    "ReceiverOptions": "fedtrack.tracking.receiver",
    "Refused": "fedtrack.tracking.normalise",
    "Results": "fedtrack.tracking.receiver",
    "RunInfo": "fedtrack.tracking.receiver",
    "SERVER": "fedtrack.tracking.events",
    "Table": "fedtrack.tracking.tables",
    "Writer": "fedtrack.tracking.writer",
    "bind": "fedtrack.tracking.writer",
    "shorten": "fedtrack.tracking.normalise",
    "table_of": "fedtrack.tracking.tables",
}

__all__ = [
    "FED_EVENT",
    "LOCAL_EVENT",
    "SERVER",
    "Batch",
    "BlobStore",
    "MediaWriter",
    "Receiver",
    "ReceiverOptions",
    "Refused",
    "Results",
    "RunInfo",
    "Table",
    "Writer",
    "bind",
    "shorten",
    "table_of",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
