"""``python -m fedtrack`` is ``fedtrack``."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - pathlib is not loaded yet
    # What lies there, such as a random.py or another's dist-info, is no part of the command line.
    del sys.path[0]

from fedtrack.cli import main

if __name__ == "__main__":
    main()
