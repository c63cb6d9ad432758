"""Hatchling, which is told that an sdist is for everybody.

hatch_build.py names a clone's siblings by their folders, for whoever installs from the clone. An sdist leaves the
clone, and so does the wheel that ``python -m build`` and ``uv build`` make of it: in these, siblings are named by
version. A hook of hatchling's is not told what is being built; the function here is.

A wheel that is made of the clone itself (``pip wheel``, ``uv build --wheel``) is for this machine, unless
``FEDTRACK_RELEASE=1`` says otherwise.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.build import *  # noqa: F403
from hatchling.build import build_sdist as _build_sdist


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Build the sdist, and return its file name."""
    os.environ["FEDTRACK_RELEASE"] = "1"  # of this process, which a frontend starts for this one call
    return _build_sdist(sdist_directory, config_settings)
