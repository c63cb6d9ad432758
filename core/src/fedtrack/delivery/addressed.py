"""Addressed: whether a receiver listens to the events of a site."""

from __future__ import annotations

from collections.abc import Callable

from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT, SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo, listened_events


def addressed(run: RunInfo, receiver: Receiver) -> Callable[[str], bool]:
    """Return a function that tells whether a receiver listens to a site's events.

    At a site, all events in the journal are the site's own. On the server, events of sites are federated events. The
    server's own records are local and federated at once, so every receiver shows them.
    """
    if run.node != SERVER or hears_sites(run.node, receiver):
        return lambda site: True
    return lambda site: site == SERVER


def hears_sites(node: str, receiver: Receiver) -> bool:
    """Return whether a receiver on ``node`` listens to the events of sites."""
    return FED_EVENT in listened_events(receiver, FED_EVENT if node == SERVER else LOCAL_EVENT)
