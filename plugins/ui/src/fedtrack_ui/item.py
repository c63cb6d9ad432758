"""Item: an image, a text, a histogram or a file that was logged, read from the journal when somebody looks at it."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.runs import StoredRun
from fedtrack.tracking import BlobStore
from fedtrack.tracking.records import Artifact, Histogram, Image, Text, decode

#: What a browser may show as a picture; the first bytes decide, not what the site called it.
_PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class Item(NamedTuple):
    """Something that was logged.

    Attributes:
        content: Its bytes; a histogram as JSON with ``edges`` and ``counts``.
        type: Its media type; a file that is no picture is only bytes.
        name: Its name as a file's.
    """

    content: bytes
    type: str
    name: str


def read_item(run: StoredRun, database: sqlite3.Connection, number: int) -> Item:
    """Return an item.

    Args:
        run: The run.
        database: The view file.
        number: The item's number in it.

    Raises:
        ConfigError: There is no such item, or its content is no longer there.
    """
    row = database.execute("SELECT node, batch, seq FROM item WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise ConfigError(f"The run has no item {number}; load the page again.")
    node, batch, seq = row
    with run.journal(node) as journal:
        for stored in journal.read(batch - 1, 1)[:1]:
            if stored.id != batch:
                break
            for found, payload in stored.events():
                if found == seq:
                    return _item(decode(payload), BlobStore(run.node(node) / "blobs"))
    raise ConfigError("The event is no longer in the journal; it was pruned, and the receivers have it.")


def _item(record: object, store: BlobStore) -> Item:
    if isinstance(record, Image):
        content = store.read(record.data)
        return Item(content, picture_type(content), f"{_file_name(record.key)}.{record.format}")
    if isinstance(record, Text):
        return Item(store.read_text(record.text).encode(), "text/plain; charset=utf-8", f"{_file_name(record.key)}.txt")
    if isinstance(record, Histogram):
        content = msgspec.json.encode({"edges": record.edges, "counts": record.counts})
        return Item(content, "application/json", f"{_file_name(record.key)}.json")
    if isinstance(record, Artifact):
        return Item(store.read(record.data), "application/octet-stream", _file_name(record.path))
    raise ConfigError("The event is no image, text, histogram or file.")


def picture_type(content: bytes) -> str:
    """Return the media type of a picture, or that of bytes if a browser should not show it."""
    for start, type_ in _PICTURES.items():
        if content.startswith(start):
            return type_
    return "application/octet-stream"


def _file_name(key: str) -> str:
    """Return the last part of a name, with nothing in it that a header or a file system could misread."""
    last = key.rpartition("/")[2]
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in last) or "file"
