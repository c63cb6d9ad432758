"""Runs: the connection of this process to each run, made once and used for every message."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Mapping
from typing import Any

import fedtrack
from fedtrack import ConnectedRun, FedtrackError

log = logging.getLogger(__name__)

#: Keys of a Flower run's config, and of a node's. The token is never among them: it is in FEDTRACK_TOKEN.
URL_KEY, RUN_KEY, SITE_KEY = "fedtrack-url", "fedtrack-run", "fedtrack-site"

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9._-]+")
_connected: dict[tuple[str, str], ConnectedRun | None] = {}
_lock = threading.Lock()


def connected(run_id: int, run_config: Mapping[str, Any], site: str) -> ConnectedRun | None:
    """Return this process's connection for a site of a run; None if it cannot be made, which is logged once.

    Tracking never ends a federation: without a collector's address the app runs as it did before.

    Args:
        run_id: Flower's id of the run.
        run_config: Flower's config of the run; may have ``fedtrack-url`` and ``fedtrack-run``.
        site: The site's name.
    """
    name = str(run_config.get(RUN_KEY) or os.environ.get("FEDTRACK_RUN") or f"flower-{run_id}")
    key = (name, site)
    with _lock:
        if key not in _connected:
            _connected[key] = _connect(str(run_config.get(URL_KEY) or "") or None, name, site)
        return _connected[key]


def name_of_node(node_id: int, node_config: Mapping[str, Any]) -> str:
    """Return a node's name as a site: its own ``fedtrack-site``, FEDTRACK_SITE, its partition, or its id.

    Args:
        node_id: Flower's id of the node.
        node_config: Flower's config of the node.
    """
    chosen = node_config.get(SITE_KEY) or os.environ.get("FEDTRACK_SITE")
    if chosen:
        return str(chosen)
    partition = node_config.get("partition-id")
    return f"node-{node_id}" if partition is None else f"node-{_NOT_ALLOWED.sub('-', str(partition))}"


def finish(run_id: int, run_config: Mapping[str, Any], site: str, timeout: float) -> None:
    """End this process's connection for a site of a run, if there is one."""
    name = str(run_config.get(RUN_KEY) or os.environ.get("FEDTRACK_RUN") or f"flower-{run_id}")
    with _lock:
        found = _connected.pop((name, site), None)
    if found is not None:
        found.finish(timeout)


def _connect(url: str | None, run: str, site: str) -> ConnectedRun | None:
    try:
        return fedtrack.connect(url, site=site, run=run)
    except FedtrackError as error:
        log.error("%s of run %s is not tracked: %s", site, run, error)
        return None
