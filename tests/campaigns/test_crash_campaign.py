"""Random SIGKILLs of writers and servers: no log call that returned is lost, doubled, altered or out of order.

FEDTRACK_SOAK=1 makes it long: 2,000 kills.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGNS, KILLS = (10, 200) if os.environ.get("FEDTRACK_SOAK") == "1" else (1, 60)


@pytest.mark.parametrize("number", range(CAMPAIGNS))
def test_returned_log_calls_survive_any_kill(number: int) -> None:
    # A process of its own: it forks, and nothing else may run in it.
    command = [sys.executable, "crash_campaign.py", "--kills", str(KILLS)]
    result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    print(result.stdout, result.stderr)
    assert result.returncode == 0, "its output above names the seed; crash_campaign.py --seed repeats its choices"
