"""Kept receivers: the receivers of a run that has no job here, stored with the run so that a replay finds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import DamagedError
from fedtrack.files import write_whole
from fedtrack.job.resolved_receiver import built_receiver
from fedtrack.json_text import read_json_file
from fedtrack.tracking.receiver import Receiver

RECEIVERS_FILE = "receivers.json"


class NamedReceiver(msgspec.Struct):
    """A receiver as it was written; keys are only ever added.

    Attributes:
        name: Its registered name.
        args: Its arguments, with ``${ENV:NAME}`` unchanged: no secret is stored.
    """

    name: str
    args: dict[str, Any] = {}


def keep_receivers(folder: Path, receivers: Mapping[str, NamedReceiver]) -> None:
    """Store the receivers of a run by their ids.

    Args:
        folder: The folder of the server's results.
        receivers: The receivers.

    Raises:
        WorkspaceError: The folder cannot be written.
    """
    write_whole(folder / RECEIVERS_FILE, msgspec.json.format(msgspec.json.encode(dict(receivers)), indent=2) + b"\n")


def read_receivers(folder: Path) -> dict[str, NamedReceiver]:
    """Return the stored receivers by their ids; none if none were stored.

    Raises:
        DamagedError: The file cannot be read.
    """
    path = folder / RECEIVERS_FILE
    try:
        return read_json_file(path, dict[str, NamedReceiver])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise DamagedError(f"{path} cannot be read: {error}; name a receiver with --receiver.") from None


def built(receivers: Mapping[str, NamedReceiver], where: str) -> dict[str, Receiver]:
    """Return the receivers by id, with ``${ENV:NAME}`` resolved; they are not opened.

    Args:
        receivers: The receivers as they were written.
        where: The place of their arguments, for messages.

    Raises:
        FedtrackError: One is not installed, its arguments are not valid, or a variable is not set.
    """
    return {id_: built_receiver(kept.name, kept.args, f"{where}: {id_}") for id_, kept in receivers.items()}
