"""The results of the campaigns, one row each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One campaign.

    Attributes:
        campaign: What it did.
        seed: What repeats its choices.
        kills: How many processes were killed with SIGKILL.
        mid_write: How many of those kills landed between the start and the return of a log call.
        returned: Events whose log call had returned.
        lost: Those of them that did not arrive, without those in which the campaign itself had flipped a bit.
        doubled: Events that arrived more than once.
        disordered: Events that arrived before one that was logged earlier.
        recovered: Seconds from the server's last start until everything was delivered.
        passed: Whether that is all as it should be, and nothing else was wrong.
    """

    campaign: str
    seed: int | None
    kills: int
    mid_write: int
    returned: int
    lost: int
    doubled: int
    disordered: int
    recovered: float
    passed: bool


def table(rows: Iterable[Row]) -> str:
    """Return the rows in Markdown."""
    columns = ("campaign", "seed", "kills", "of them mid-write", "events returned")
    columns += ("lost", "doubled", "disordered", "recovered in", "pass")
    lines = [columns, ("---",) * len(columns)]
    for row in rows:
        counts = [f"{count:,}" for count in row[2:8]]
        seed = "" if row.seed is None else str(row.seed)
        lines.append((row.campaign, seed, *counts, f"{row.recovered:.1f} s", "yes" if row.passed else "NO"))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
