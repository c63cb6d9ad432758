"""Bare run: a run of another system in one folder, without a workspace and without an exported job.

::

    <folder>/run.json, receivers.json, journal.db, delivery.db, blobs/
    <folder>/spools/<site, as hexadecimal UTF-8>/spool/

Its receivers are stored with it, so that a replay can deliver what the end of the process left.
"""

from __future__ import annotations

from pathlib import Path

from fedtrack.runs.kept_receivers import RECEIVERS_FILE
from fedtrack.runs.workspace import RUN_FOLDER


def is_bare(folder: Path) -> bool:
    """Return whether a folder holds a bare run."""
    # In the server's folder of a collected run there are stored receivers, too.
    return folder.name != RUN_FOLDER and (folder / RECEIVERS_FILE).exists()


def spool_home(folder: Path, site: str) -> Path:
    """Return the folder of a site's spool in a bare run; a site of another system may have any name."""
    return folder / "spools" / site.encode().hex()


def spooled_sites(folder: Path) -> list[str]:
    """Return the sites that have a spool in a bare run."""
    return sorted(bytes.fromhex(path.name).decode() for path in (folder / "spools").glob("*"))
