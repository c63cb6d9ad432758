"""Paths: the check of the paths that a job names, because job files come from other people."""

from __future__ import annotations

from pathlib import PurePosixPath

from fedtrack.errors import ConfigError
from fedtrack.tracking.normalise import shorten

#: What a run itself writes in its folder.
RESERVED = frozenset(
    {"app_server", "blobs", "delivery.db", "delivery.lock", "exchange", "journal.db", "run.json", "run_summary.json"}
    | {"rounds.msgpack", "rounds.json", "spool", "workers", "workflow-log.msgpack", "workflow-states.msgpack"}
)

_MOST_BYTES, _MOST_BYTES_OF_A_NAME = 1000, 255


def check_inside(where: str, value: str) -> None:
    """Check that ``value`` names a place inside the run's folder that the run itself does not use.

    Raises:
        ConfigError: ``value`` is empty, absolute or too long, leaves the folder with ``..``, or is reserved.
    """
    path = PurePosixPath(value)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ConfigError(
            f"{where} is {shorten(value)}; give a relative path without '..', it lies in the run's folder."
        )
    check_length(where, value)
    if path.parts[0] in RESERVED:
        raise ConfigError(f"{where} is {shorten(value)}; the run uses {path.parts[0]!r} itself, give another name.")


def check_place(where: str, value: str) -> None:
    """Check a path or URL of a receiver's own files, which may also be absolute.

    Raises:
        ConfigError: ``value`` has ``..`` or a NUL, is too long, or is a ``file:`` URL of another machine.
    """
    scheme, colon, rest = value.partition(":")
    is_file = colon and scheme.lower() == "file"
    path = PurePosixPath(rest if is_file else value)
    if ".." in path.parts or "\0" in value or (is_file and "%" in rest):
        raise ConfigError(f"{where} is {shorten(value)}; give a place without '..', '%' or NUL.")
    if is_file and rest.startswith("//") and rest[2:].partition("/")[0] not in ("", "localhost"):
        raise ConfigError(f"{where} is {shorten(value)}, a file of another machine; write file:///path.")
    if is_file or "://" not in value:
        check_length(where, value)


def check_script(where: str, value: str) -> None:
    """Check the path of a training script.

    Raises:
        ConfigError: ``value`` is empty or too long, or has a NUL.
    """
    if not PurePosixPath(value).name or "\0" in value:
        raise ConfigError(f"{where} is {shorten(value)}; give the path of a Python file.")
    check_length(where, value)


def check_length(where: str, value: str) -> None:
    """Check that a file system can hold the path ``value``.

    Raises:
        ConfigError: It, or a name in it, is too long.
    """
    longest = max((len(part.encode(errors="replace")) for part in PurePosixPath(value).parts), default=0)
    if len(value) > _MOST_BYTES or longest > _MOST_BYTES_OF_A_NAME:
        raise ConfigError(f"{where} is {shorten(value)}, {len(value):,} characters; give a shorter path.")
