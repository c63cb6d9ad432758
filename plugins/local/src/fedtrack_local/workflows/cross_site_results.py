"""Cross-site results: the metrics of each model on each site's data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from fedtrack.errors import WorkspaceError
from fedtrack.files import write_whole
from fedtrack_local.room import when_there_is_room

#: Metrics by data site and model owner: ``results["site-1"]["SRV_FL_global_model"]["accuracy"]``.
CrossSiteResults: TypeAlias = dict[str, dict[str, dict[str, float]]]


def record_keys(data_site: str, owner: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return ``metrics`` with the keys for receivers: ``cross_val/<data site>/<model owner>/<metric>``.

    Only the server may log for another site, and it does so under its own name; the site is therefore in the key.
    """
    return {f"cross_val/{data_site}/{owner}/{name}": value for name, value in metrics.items()}


def write_results(results: CrossSiteResults, path: Path) -> None:
    """Write ``results`` as JSON, and replace an earlier file in one step; NaN and infinities become null.

    Raises:
        WorkspaceError: The file cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"Cannot write {path}: {error.strerror}; free space or check rights.") from None
    data = msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n"
    when_there_is_room(lambda: write_whole(path, data))
