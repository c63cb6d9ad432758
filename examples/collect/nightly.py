"""A script that cron starts every night, and whose numbers go to a collector.

    0 3 * * *  FEDTRACK_URL=https://collector.example.org:8443 FEDTRACK_TOKEN=ft_... python nightly.py

A machine without a network at night loses nothing: the records lie in the outbox, and the next night sends them.
"""

import socket
import sys
from datetime import date

import fedtrack


def main() -> int:
    """Train, and return the exit code."""
    with fedtrack.connect(site=socket.gethostname().split(".")[0], run=f"nightly-{date.today()}") as run:
        run.log_params({"steps": 200})
        for step in range(200):
            run.log({"loss": 1 / (step + 1)}, step=step)
    # At the end of the block it has waited up to a minute; what is left then is named on stderr.
    return 0


if __name__ == "__main__":
    sys.exit(main())
