"""Start of the command line: help and listings compared with the ``--help`` of a minimal typer program.

The budget is 1.5 times, with every plugin installed. The two commands alternate, so that both have the same load of the
machine, and the ratio of each neighbouring pair is taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.table import Table, spread

title = "The command line"

PAIRS = 15

BARE = """
import typer
app = typer.Typer()
@app.command()
def greet(name: str = "you") -> None:
    "Say hello."
app()
"""

COMMANDS = ("--help", "receivers list", "plugins list", "writers list", "engines list", "examples list")


def seconds(command: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of one run, including the start of the interpreter."""
    # Bytecode is cached, as on a user's machine, even if this shell disables it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, started = os.times(), perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def compare(command: list[str], bare: list[str], pairs: int) -> list[tuple[float, float]]:
    """Return the ratios of ``command`` to ``bare``, in wall and in CPU seconds."""
    seconds(command)  # both write their bytecode first
    seconds(bare)
    ratios = []
    for _ in range(pairs):
        own, floor = seconds(command), seconds(bare)
        ratios.append((own[0] / floor[0], own[1] / floor[1]))
    return ratios


def run(quick: bool = True) -> list[Table]:
    """Return the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text(BARE)
        for name in COMMANDS:
            command = [sys.executable, "-m", "fedtrack", *name.split()]
            found = compare(command, [sys.executable, str(script), "--help"], 7 if quick else PAIRS)
            rows.append((f"`fedtrack {name}`", *(spread(column) for column in zip(*found, strict=True))))
    note = "Times a bare typer program's `--help`, with every plugin installed; the interpreter's start is in both."
    return [Table(title, ("command", "wall, times bare", "CPU, times bare"), rows, note)]
