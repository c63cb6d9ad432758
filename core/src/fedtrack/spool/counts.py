"""The counts of a spool: what the pages of its streams say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedtrack.spool.counter_page import page_path, read_page
from fedtrack.spool.segments import list_files
from fedtrack.tracking.counts import Counts


def read_counts(folder: Path, streams: Iterable[str] = ()) -> dict[str, Counts | None]:
    """Return what the pages in a spool folder count, by stream; None for a stream that has no readable page.

    Args:
        folder: The spool; need not exist.
        streams: The streams to look at, besides all that have a file there.
    """
    there = list_files(folder).segments if folder.is_dir() else {}
    return {stream: read_count(folder, stream) for stream in sorted({*streams, *there})}


def read_count(folder: Path, stream: str) -> Counts | None:
    """Return what the page of a stream counts; None if there is none that can be read."""
    try:
        return read_page(page_path(folder, stream))
    except OSError:
        return None
