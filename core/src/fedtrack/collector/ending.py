"""Ending: whether a run's owner has ended it, and when that was done."""

from __future__ import annotations

import msgspec

from fedtrack.connection.run_folder import RunFolder
from fedtrack.files import write_whole
from fedtrack.json_text import read_json_file

_FILE = "ending.json"


class Ending(msgspec.Struct):
    """The end of a run; keys are only ever added.

    Attributes:
        asked: Whether its owner has asked for it.
        ended: When it ended, in seconds since the epoch; None while it is running. Late records are still taken.
        delivered: Whether every receiver had everything then.
    """

    asked: bool = False
    ended: float | None = None
    delivered: bool = False


def read_ending(folder: RunFolder) -> Ending:
    """Return the end of a run."""
    try:
        return read_json_file(folder.server / _FILE, Ending)
    except (OSError, msgspec.MsgspecError):
        return Ending()


def write_ending(folder: RunFolder, ending: Ending) -> None:
    """Store the end of a run.

    Raises:
        WorkspaceError: The folder cannot be written.
    """
    write_whole(folder.server / _FILE, msgspec.json.encode(ending))
