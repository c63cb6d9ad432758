"""Tally rows: a tally as rows for people, with the same words on every screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from fedtrack.delivery.report import ReceiverTally
from fedtrack.runs.tally import SiteTally
from fedtrack.tracking.events import SERVER

Row: TypeAlias = dict[str, str]

#: A column is shown if the caller asks for it, or if one of its counts is unknown or not 0.
_SITE_COLUMNS = ("logged", "in spool", "journaled", "rejected", "withheld", "dropped", "lost")
_RECEIVER_COLUMNS = ("delivered", "skipped", "dead", "pending", "lost", "of")


def site_rows(sites: Mapping[str, SiteTally], always: Iterable[str] = ("logged", "journaled")) -> list[Row]:
    """Return a row for each site; ``?`` stands for a count that is not known."""
    counts = {name if site.streams_to_server else f"{name} (stay there)": _counts(site) for name, site in sites.items()}
    return _rows("site", counts, _SITE_COLUMNS, always)


def known_columns(rows: list[Row]) -> list[Row]:
    """Return the rows without the columns in which no count is known: as long as a run goes on, there are some."""
    unknown = {name for name in rows[0] if all(row[name] == "?" for row in rows)} if rows else set()
    return [{name: value for name, value in row.items() if name not in unknown} for row in rows]


def receiver_rows(
    receivers: Mapping[str, ReceiverTally], always: Iterable[str] = ("delivered", "skipped", "dead", "pending")
) -> list[Row]:
    """Return a row for each receiver."""
    counts: dict[str, dict[str, int | None]] = {
        label: {
            "delivered": one.delivered,
            "skipped": one.not_supported,
            "dead": one.dead,
            "pending": one.pending,
            "lost": one.lost,
            "of": one.seen if one.addressed is None else one.addressed,
        }
        for label, one in receivers.items()
    }
    return _rows("receiver", counts, _RECEIVER_COLUMNS, [*always, "of"])


def grouped_sites(sites: Mapping[str, SiteTally], most: int) -> dict[str, SiteTally]:
    """Return the sites to list: if there are more than ``most``, the complete ones share one entry."""
    if len(sites) <= most:
        return dict(sites)
    alike = [name for name, site in sites.items() if name != SERVER and site.node and site.complete]
    journaled = sum(sites[name].journaled for name in alike)
    logged = sum(sites[name].logged or 0 for name in alike)
    rejected = sum(sites[name].rejected or 0 for name in alike)
    together = SiteTally(logged, journaled, rejected=rejected, in_spool=0, lost=0)
    others = {name: site for name, site in sites.items() if name not in set(alike)}
    return {f"{len(alike):,} sites": together, **others}


def _counts(site: SiteTally) -> dict[str, int | None]:
    return {
        "logged": site.logged,
        "in spool": site.in_spool,
        "journaled": site.journaled,
        "rejected": site.rejected,
        "withheld": site.withheld,
        "dropped": site.dropped,
        "lost": site.lost,
    }


def _rows(
    first: str, counts: Mapping[str, Mapping[str, int | None]], columns: Iterable[str], always: Iterable[str]
) -> list[Row]:
    wanted = set(always)
    shown = [name for name in columns if name in wanted or any(one[name] != 0 for one in counts.values())]
    return [
        {first: label} | {name: "?" if one[name] is None else f"{one[name]:,}" for name in shown}
        for label, one in counts.items()
    ]
