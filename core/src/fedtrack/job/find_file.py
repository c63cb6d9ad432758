"""Finds the files that a job names."""

from __future__ import annotations

import sys
from pathlib import Path

from fedtrack.errors import ConfigError


def find_file(path: str | Path, what: str) -> Path:
    """Return the absolute path of a file or folder that a job names.

    A relative path is looked for in the working folder, then beside the Python script that was started, so that
    ``python some/where/job.py`` works from anywhere.

    Raises:
        ConfigError: It is in neither.
    """
    places = [Path.cwd()] if Path(path).is_absolute() or not sys.path[0] else [Path.cwd(), Path(sys.path[0])]
    for place in places:
        if (place / path).exists():
            return (place / path).resolve()
    searched = " and ".join(str(place) for place in dict.fromkeys(places))
    raise ConfigError(f"{what} {str(path)!r} does not exist; looked in {searched}.")
