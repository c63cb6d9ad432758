"""Paths: the check of the paths that a job names."""

from __future__ import annotations

from pathlib import PurePosixPath

from fedtrack.errors import ConfigError


def check_inside(where: str, value: str) -> None:
    """Check that ``value`` names a place inside the run's folder, because job files come from other people.

    Raises:
        ConfigError: ``value`` is empty or absolute, or leaves the folder with ``..``.
    """
    path = PurePosixPath(value)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ConfigError(f"{where} is {value!r}; give a relative path without '..', it lies in the run's folder.")
