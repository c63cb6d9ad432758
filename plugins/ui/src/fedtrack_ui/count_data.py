"""CountData: what became of every log call: the counts of sites and receivers, and what is worth knowing about them."""

from __future__ import annotations

import sqlite3
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fedtrack.delivery import ReceiverTally
from fedtrack.runs import StoredRun, Tally, tally_of
from fedtrack_ui import answers
from fedtrack_ui.rollup import reading
from fedtrack_ui.words import clipped

_ISSUES = 200


def count_data(run: StoredRun, database: sqlite3.Connection, *, running: bool) -> dict[str, Any]:
    """Return the counts of a run.

    Args:
        run: The run.
        database: The view file.
        running: Whether it goes on, so that what waits is on its way.
    """
    tally = tally_of(run)
    return {
        "answer": answers.losing(tally, running=running)._asdict(),
        "totals": totals(tally),
        "sites": {name: _site(name, tally) for name in tally.sites},
        "receivers": [_receiver(one) for one in tally.receivers.values()],
        "issues": issues(tally, reading.problems(database))[:_ISSUES],
        "replay": f"fedtrack runs replay {run.kept}",
        "complete": tally.complete,
    }


def totals(tally: Tally) -> dict[str, Any]:
    """Return the sums over all sites; ``unknown`` names sites whose calls are not all known."""
    sites = tally.sites.values()
    known = sum(site.logged if site.logged is not None else site.journaled for site in sites)
    return {
        "logged": known,
        "unknown": [name for name, site in tally.sites.items() if site.logged is None],
        "journaled": sum(site.journaled for site in sites),
        "in_spool": sum(site.in_spool or 0 for site in sites),
        "withheld": sum(site.withheld or 0 for site in sites),
        "rejected": sum(site.rejected or 0 for site in sites),
        "dropped": sum(site.dropped or 0 for site in sites),
        "lost": sum(site.lost or 0 for site in sites),
        "gaps": len(tally.gaps),
    }


def _site(name: str, tally: Tally) -> dict[str, Any]:
    site = tally.sites[name]
    return {field: getattr(site, field) for field in site.__struct_fields__} | {"calls": site.calls}


def _receiver(one: ReceiverTally) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(one) | {"label": one.label, "skipped_sum": one.not_supported}
    address = urlsplit(one.location)
    is_page = address.scheme in ("http", "https") and not address.username and not address.password
    return found | {"link": one.location if is_page else "", "location": _shown(one.location)}


def _shown(location: str) -> str:
    """Return a location without what may be a password in it."""
    address = urlsplit(location)
    return location.replace(address.netloc, address.netloc.rpartition("@")[2], 1) if "@" in address.netloc else location


def issues(tally: Tally, problems: list[tuple[str, str, int, str, str]]) -> list[list[str]]:
    """Return (mood, text) of what is worth knowing, worst first."""
    found = [["bad", f"{site}: {reason}"] for site, reason in tally.gaps]
    found += [
        ["bad", f"{name}: {site.dropped:,} log calls dropped: no room on its disk or in its spool's limit"]
        for name, site in tally.sites.items()
        if site.dropped
    ]
    for name, site in tally.sites.items():
        if site.error:
            uncounted = "; it could not count its log calls, each that returned is kept" if site.logged is None else ""
            start = "" if site.error.startswith(name) else f"{name}: "
            found.append(["bad", f"{start}{clipped(site.error, 200)}{uncounted}"])
    found += [["warn", f"{name}: {why}"] for name, why in tally.waiting.items()]
    found += [
        ["warn", f"{site}: {count:,} log calls rejected, such as {key}: {reason}"]
        for site, _, count, key, reason in problems
    ]
    found += [["warn", f"{one.receiver} refused an event of {one.site}: {one.reason}"] for one in tally.refused]
    return found
