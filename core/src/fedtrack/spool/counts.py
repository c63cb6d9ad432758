"""Counts of a spool: the counts in the pages of its streams."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedtrack.spool.counter_page import page_path, read_page
from fedtrack.spool.segments import list_files
from fedtrack.tracking.counts import Counts


def read_counts(folder: Path, streams: Iterable[str] = ()) -> dict[str, Counts | None]:
    """Return the counts in the pages of a spool folder, by stream; None for a stream without a readable page.

    Args:
        folder: The spool; need not exist.
        streams: Further streams to read, besides all that have a file there.
    """
    there = list_files(folder).segments if folder.is_dir() else {}
    return {stream: read_count(folder, stream) for stream in sorted({*streams, *there})}


def read_count(folder: Path, stream: str) -> Counts | None:
    """Return the counts in the page of a stream; None if there is no readable page."""
    try:
        return read_page(page_path(folder, stream))
    except OSError:
        return None
