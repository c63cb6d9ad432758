"""DamagedBytes: a part of a segment that is not, or no longer, what its process wrote."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class DamagedBytes(NamedTuple):
    """A damaged, cut or deleted part of a stream.

    Attributes:
        path: The segment.
        start: Offset of the first byte.
        size: The number of bytes; 0 if that is not known.
        torn: Whether the bytes are the beginning of a frame, at the end of a stream whose process died. SIGKILL has
            cut that write, and its log call had not returned. All other bytes are damage to the file.
        reason: The damage, as a text for people; it is the same whenever the damage is found.
        first: Number of the first record that may be lost.
        last: Number of the last record that may be lost; None if that is not known.
        gone: Whether the segment itself is gone.
    """

    path: Path
    start: int
    size: int
    torn: bool
    reason: str
    first: int
    last: int | None = None
    gone: bool = False


def damaged(path: Path, start: int, size: int, first: int, last: int | None, *, torn: bool) -> DamagedBytes:
    """Return bytes that are no frames."""
    reason = f"{size} damaged bytes at offset {start} of {path.name}; {_lost(first, last)}"
    return DamagedBytes(path, start, size, torn, reason, first, last)


def no_file(path: Path, what: str, first: int, last: int | None) -> DamagedBytes:
    """Return a segment that is no file of its process."""
    return DamagedBytes(path, 0, 0, False, f"{path.name} {what}; {_lost(first, last)}", first, last)


def too_long(path: Path, end: int, size: int, first: int, last: int | None) -> DamagedBytes:
    """Return the ``size`` bytes behind the longest segment that is read."""
    reason = f"{path.name} has {end + size:,} bytes, and the {size:,} behind offset {end} are not read"
    return DamagedBytes(path, end, size, False, f"{reason}; {_lost(first, last)}", first, last)


def emptied(path: Path, first: int, last: int | None) -> DamagedBytes:
    """Return a segment that has not even a header."""
    return DamagedBytes(path, 0, 0, False, f"{path.name} is empty; {_lost(first, last)}", first, last)


def cut(path: Path, end: int, size: int, first: int, last: int | None) -> DamagedBytes:
    """Return the end of a segment, of which ``size`` bytes from offset ``end`` on were removed."""
    reason = f"{path.name} ends at offset {end}, {size} bytes before the end that its process wrote"
    return DamagedBytes(path, end, size, False, f"{reason}; {_lost(first, last)}", first, last)


def behind(path: Path, end: int, known: int) -> DamagedBytes:
    """Return the end of a segment without a record that the journal has."""
    reason = f"{path.name} ends at offset {end}, without record {known}, which the journal has"
    return DamagedBytes(path, end, 0, False, f"{reason}; {_lost(known + 1, None)}", known + 1)


def gone(path: Path, size: int, first: int, last: int | None) -> DamagedBytes:
    """Return a segment that was deleted by somebody else than fedtrack."""
    length = f", which had {size} bytes," if size else ""
    reason = f"{path.name}{length} is gone, and fedtrack has not deleted it; {_lost(first, last)}"
    return DamagedBytes(path, 0, size, False, reason, first, last, gone=True)


def forgotten(path: Path, first: int, last: int) -> DamagedBytes:
    """Return records that a server has had, and does not have any more."""
    reason = f"records {first} to {last} of a stream were sent, and the server does not have them any more"
    return DamagedBytes(path, 0, 0, False, reason, first, last, gone=True)


def beginning_gone(path: Path, first: int, last: int) -> DamagedBytes:
    """Return the first segments of a stream, which are neither here nor in the journal."""
    reason = (
        f"records {first} to {last} of a stream are in no spool any more, and not in this journal: their segments, "
        "or an older journal that had them, were removed"
    )
    return DamagedBytes(path, 0, 0, False, reason, first, last, gone=True)


def _lost(first: int, last: int | None) -> str:
    if last is None:
        return f"records from number {first} on may be lost"
    if last < first:
        return "no record is lost"
    return f"record {first} may be lost" if first == last else f"records {first} to {last} may be lost"
