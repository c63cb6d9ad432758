"""Bare run: a run of another system in one folder, without a workspace and without an exported job.

::

    <folder>/run.json, receivers.json, journal.db, delivery.db, blobs/
    <folder>/spools/<site, as hexadecimal UTF-8>/spool/

Its receivers are stored with it, so that a replay can deliver what the end of the process left.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import DamagedError
from fedtrack.files import write_whole
from fedtrack.job.config import resolve_references
from fedtrack.plugins import registry
from fedtrack.tracking.receiver import Receiver

RECEIVERS_FILE = "receivers.json"


class NamedReceiver(msgspec.Struct):
    """A receiver of a bare run.

    Attributes:
        name: Its registered name.
        args: Its arguments as written: ``${ENV:NAME}`` stands for an environment variable.
    """

    name: str
    args: dict[str, Any] = {}


def keep_receivers(folder: Path, receivers: Mapping[str, NamedReceiver]) -> None:
    """Store the receivers of a bare run, by component id."""
    write_whole(folder / RECEIVERS_FILE, msgspec.json.encode(receivers))


def is_bare(folder: Path) -> bool:
    """Return whether a folder holds a bare run."""
    return (folder / RECEIVERS_FILE).exists()


def kept_receivers(folder: Path) -> dict[str, Receiver]:
    """Return the receivers of a bare run, not opened.

    Raises:
        DamagedError: The file cannot be read.
        PluginError: A receiver is not installed.
        ConfigError: An argument is not valid, or an environment variable is missing.
    """
    path = folder / RECEIVERS_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, NamedReceiver])
    except msgspec.MsgspecError as error:
        raise DamagedError(f"{path} cannot be read: {error}; name a receiver with --receiver.") from None
    return {
        id_: registry().receiver(item.name)(**resolve_references(item.args, dict(os.environ), f"{path}: {id_}"))
        for id_, item in found.items()
    }


def spool_home(folder: Path, site: str) -> Path:
    """Return the folder of a site's spool in a bare run; a site of another system may have any name."""
    return folder / "spools" / site.encode().hex()


def spooled_sites(folder: Path) -> list[str]:
    """Return the sites that have a spool in a bare run."""
    return sorted(bytes.fromhex(path.name).decode() for path in (folder / "spools").glob("*"))
