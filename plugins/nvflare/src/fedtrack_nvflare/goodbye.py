"""The goodbye of a site: what its processes counted, and what the pages of its spool count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedtrack.spool.counter_page import page_path, read_page
from fedtrack.spool.segments import list_files
from fedtrack.tracking.counts import Counts
from fedtrack.transport.wire import Bye
from fedtrack_nvflare.backend import Left


def goodbye(run_id: str, final: Mapping[str, int], spool: Path, left: Left | None) -> Bye:
    """Return a site's last words.

    Args:
        run_id: The run.
        final: The last number of each stream.
        spool: Its spool, to which nobody writes any more.
        left: What its processes counted; None if they were killed, and the pages say it all.
    """
    pages = list_files(spool).pages if spool.is_dir() else frozenset()
    counts = {stream: _counts(spool, stream) for stream in sorted({*final, *pages})}
    known = [one for one in counts.values() if one is not None]
    return Bye(
        run_id,
        dict(final),
        left.logged if left else None,
        max(left.dropped if left else 0, sum(one.dropped for one in known)),
        withheld=sum(one.withheld for one in known),
        rejected=sum(one.rejected for one in known),
        counts=counts,
    )


def _counts(spool: Path, stream: str) -> Counts | None:
    try:
        return read_page(page_path(spool, stream))
    except OSError:  # not known, then
        return None
