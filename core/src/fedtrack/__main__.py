"""``python -m fedtrack`` is ``fedtrack``."""

from fedtrack.cli import main

if __name__ == "__main__":
    main()
