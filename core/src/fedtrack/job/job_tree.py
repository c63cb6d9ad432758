"""JobTree: the check of the files in a job's folder, before any of them is opened or copied.

Jobs come from other people. A link out of the folder would copy a file of this machine into the run's results, and a
FIFO would be waited for until somebody writes to it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fedtrack.errors import ConfigError
from fedtrack.tracking.normalise import printable, shorten


def check_tree(folder: Path) -> None:
    """Check that a job's folder has only files and folders, and links to those of its own.

    Raises:
        ConfigError: A link leads out of the folder, to nothing or to a folder around it, or something else is no file.
    """
    root = Path(os.path.realpath(folder))
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                mode = _followed(root, path)
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise ConfigError(f"{_shown(path)} is neither a file nor a folder; a job has nothing else, remove it.")


def _followed(root: Path, link: Path) -> int:
    """Return the mode of what ``link`` leads to."""
    target = Path(os.path.realpath(link))
    if not target.is_relative_to(root):
        raise ConfigError(
            f"{_shown(link)} is a link out of the job's folder, to {shorten(str(target), 200)}; copy the file into the "
            "job, or give its path to the script."
        )
    if link.is_relative_to(target):
        raise ConfigError(f"{_shown(link)} is a link to a folder that it is in; remove it.")
    try:
        return target.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{_shown(link)} is a link to nothing ({error.strerror}); remove it.") from None


def _shown(path: Path) -> str:
    return printable(str(path), 300)
