"""The goodbye of a site: what its processes counted, and what the pages of its spool count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedtrack.spool import read_counts
from fedtrack.transport import Bye, Guard
from fedtrack_nvflare.backend import Left


def goodbye(run_id: str, final: Mapping[str, int], spool: Path, left: Left | None, guard: Guard | None = None) -> Bye:
    """Return a site's last words.

    Args:
        run_id: The run.
        final: The last number of each stream.
        spool: Its spool, to which nobody writes any more.
        left: What its processes counted; None if they were killed, and the pages say it all.
        guard: What was refused behind them; None if nothing was looked at.
    """
    counts = read_counts(spool, final)
    refused = 0 if guard is None else guard.all_refused
    if guard is not None:
        counts = {name: guard.counted(name, one) for name, one in counts.items()}
    known = [one for one in counts.values() if one is not None]
    return Bye(
        run_id,
        dict(final),
        left.logged - refused if left else None,
        max(left.dropped if left else 0, sum(one.dropped for one in known)),
        withheld=sum(one.withheld for one in known),
        rejected=sum(one.rejected for one in known),
        counts=counts,
    )
