"""SIGKILLs of trainers, agents, collectors and deliverers inside a step: nothing is lost or doubled.

FEDTRACK_SOAK=1 makes it long: 100 kills inside each of five steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .scoreboard import Row
from .soak import INSIDE, SOAK

pytest.importorskip("uvicorn")


@pytest.mark.slow
@pytest.mark.skipif(not SOAK, reason="where a kill lands depends on the machine's load; `make soak` plays it")
@pytest.mark.timeout(0)
def test_what_was_logged_survives_a_kill_inside_any_step(tmp_path: Path, scoreboard: list[Row]) -> None:
    # A process of its own: it forks, and nothing else may run in it.
    folder, row = Path(__file__).parent, tmp_path / "row"
    paths = os.pathsep.join((str(folder.parent), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "collect_campaign.py", "--inside", str(INSIDE), "--row", str(row)]
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    found = Row(*json.loads(row.read_text()))
    scoreboard.append(found._replace(passed=found.passed and done.returncode == 0))
    assert done.returncode == 0, "the output above names the seed; collect_campaign.py --seed repeats it"
    assert found.mid_write >= 5 * INSIDE
