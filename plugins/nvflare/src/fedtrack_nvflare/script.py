"""Script: the start of a site's training script inside a FLARE app, which all sites share."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from fedtrack_nvflare.backend import SiteRun

#: Name of the script that FLARE starts, and its content.
MAIN_FILE = "fedtrack_main.py"
MAIN = '''"""FLARE starts this file; it runs the site's own training script."""

from fedtrack_nvflare.script import main

main()
'''


def main() -> None:
    """Run the site's script as its own main program."""
    run = SiteRun.from_environment()
    sys.argv = [run.script, *run.args]
    sys.path.insert(0, str(Path(run.script).parent))
    runpy.run_path(run.script, run_name="__main__")
