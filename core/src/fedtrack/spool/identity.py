"""SpoolIdentity: whose records a spool folder holds, for whoever finds it without the workspace that it belonged to."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedtrack.files import write_whole
from fedtrack.spool.frames import VERSION

IDENTITY_FILE = "spool.json"


class SpoolIdentity(msgspec.Struct, frozen=True):
    """What ``spool.json`` says; fields that a later version adds are passed over.

    Attributes:
        run: The run's id.
        site: The site's name, or that of the process that works for several.
        format: The format of the segments that the writer begins.
    """

    run: str
    site: str
    format: int = VERSION


def write_identity(folder: Path, identity: SpoolIdentity) -> None:
    """Write the identity of a spool.

    Raises:
        WorkspaceError: It cannot be written.
    """
    write_whole(folder / IDENTITY_FILE, msgspec.json.format(msgspec.json.encode(identity)) + b"\n")


def read_identity(folder: Path) -> SpoolIdentity | None:
    """Return whose a spool is; None if it does not say, or not legibly."""
    try:
        return msgspec.json.decode((folder / IDENTITY_FILE).read_bytes(), type=SpoolIdentity)
    except (OSError, msgspec.MsgspecError):
        return None
