"""SpoolIdentity: the run and the site of a spool folder, for people who find it outside its workspace."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedtrack.files import read_plain, write_whole
from fedtrack.json_text import decode_json
from fedtrack.spool.frames import VERSION

IDENTITY_FILE = "spool.json"
_MOST_BYTES = 64 * 1024


class SpoolIdentity(msgspec.Struct, frozen=True):
    """The content of ``spool.json``; fields of later versions are ignored.

    Attributes:
        run: The run's id.
        site: The name of the site, or of the process that works for several sites.
        format: The format of the writer's new segments.
    """

    run: str
    site: str
    format: int = VERSION


def write_identity(folder: Path, identity: SpoolIdentity) -> None:
    """Write the identity of a spool.

    Raises:
        WorkspaceError: The file cannot be written.
    """
    write_whole(folder / IDENTITY_FILE, msgspec.json.format(msgspec.json.encode(identity)) + b"\n")


def read_identity(folder: Path) -> SpoolIdentity | None:
    """Return the identity of a spool; None if its file is missing or cannot be read."""
    try:
        return decode_json(read_plain(folder / IDENTITY_FILE, _MOST_BYTES), SpoolIdentity)
    except (OSError, msgspec.MsgspecError):
        return None
