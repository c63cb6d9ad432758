"""Files: where a job's files are searched."""

from __future__ import annotations

import sys
from pathlib import Path

from fedtrack.errors import ConfigError


def find_file(path: str | Path, what: str) -> Path:
    """Return the absolute path of a file or folder that a job names.

    A relative path is searched beside the started Python script, so that ``python some/where/job.py`` gives the same
    result from every folder, and then in the working folder.

    Raises:
        ConfigError: The path is in neither.
    """
    places = [Path(sys.path[0]), Path.cwd()]
    for place in places:
        if (place / path).exists():
            return (place / path).resolve()
    searched = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise ConfigError(f"{what} {str(path)!r} does not exist; looked in {searched}; give a path that exists.")
