"""Random SIGKILLs of writers and servers: no log call that returned is lost, doubled, altered or out of order.

FEDTRACK_SOAK=1 makes it long; see ``soak.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from .scoreboard import Row
from .soak import AWAY_SECONDS, KILLS, SECONDS, SOAK

KILLS_PER_CAMPAIGN = 200


@pytest.mark.timeout(0 if SOAK else 300)
def test_returned_log_calls_survive_any_kill(tmp_path: Path, scoreboard: list[Row]) -> None:
    began, rows = monotonic(), []
    while sum(row.kills for row in rows) < KILLS or monotonic() - began < SECONDS:
        # Each has an absence of the server, and the first one a long one.
        rows.append(campaign(tmp_path / str(len(rows)), min(KILLS, KILLS_PER_CAMPAIGN), 1 if rows else AWAY_SECONDS))
        scoreboard.append(rows[-1])
    assert all(row.passed for row in rows), "the output above names the seed; crash_campaign.py --seed repeats it"


def campaign(row: Path, kills: int, away_seconds: int) -> Row:
    # A process of its own: it forks, and nothing else may run in it.
    command = [sys.executable, "crash_campaign.py", "--kills", str(kills), "--away", str(away_seconds)]
    result = subprocess.run([*command, "--row", str(row)], cwd=Path(__file__).parent, capture_output=True, text=True)
    print(result.stdout, result.stderr)
    found = Row(*json.loads(row.read_text()))
    return found._replace(passed=found.passed and result.returncode == 0)
