"""Label of a receiver: its id in the job, after the site's name if a site hosts it."""

from __future__ import annotations

from fedtrack.tracking.events import SERVER


def receiver_label(node: str, id_: str) -> str:
    """Return the label of the receiver ``id_`` of a node, for people: ``<id>``, or ``<site>/<id>``."""
    return id_ if node == SERVER else f"{node}/{id_}"


def split_label(label: str) -> tuple[str, str]:
    """Return the node and the id of the receiver with this label."""
    node, _, id_ = label.rpartition("/")
    return node or SERVER, id_
