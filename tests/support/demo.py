"""Runs examples as a user does, for tests of their promises."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fedtrack.runs.result import RunResult

#: Runs job.py as a user does, then says what the server's process has imported.
PROBE = """
import json, runpy, sys
sys.argv = sys.argv[2:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
code = 0
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as error:
    code = error.code
print("MODULES " + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Demo:
    """A finished run of an example."""

    result: RunResult
    output: str
    modules: set[str]


def run_example(name: str, workspace: Path, *arguments: str) -> Demo:
    from fedtrack.plugins import registry

    job = registry().example(name).folder / "job.py"
    command = [sys.executable, "-c", PROBE, "probe", str(job), "-w", str(workspace), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = next(line for line in done.stderr.splitlines() if line.startswith("MODULES "))
    result = RunResult.load(workspace / "server" / "simulate_job" / "run_summary.json")
    return Demo(result, done.stdout, set(json.loads(listed.removeprefix("MODULES "))))
