"""The length of the campaigns: a minute for every change; with FEDTRACK_SOAK=1 as long as the environment says."""

import os

SOAK = os.environ.get("FEDTRACK_SOAK") == "1"


def _option(name: str, long: int, short: int) -> int:
    return int(os.environ.get(f"FEDTRACK_SOAK_{name}", long)) if SOAK else short


#: How often processes are killed.
KILLS = _option("KILLS", 2_000, 60)
#: For how many seconds the server is away once.
AWAY_SECONDS = _option("AWAY", 60, 4)
#: For how many seconds processes are killed at least, however many kills that makes.
SECONDS = _option("SECONDS", 0, 0)
#: For how many seconds each decoder is fuzzed.
FUZZ_SECONDS = _option("FUZZ", 60, 0)
#: How many kills must land inside each step from a log call to a receiver.
INSIDE = _option("INSIDE", 100, 2)
