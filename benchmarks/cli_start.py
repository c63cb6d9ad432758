"""What a listing costs beside a bare typer ``--help``: budget 1.5 times, with every plugin installed.

Run it with ``python benchmarks/cli_start.py [pairs]``. The two commands alternate, so that both see the same load
of the machine; the ratio of each neighbouring pair is taken, and its median is the result.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

BUDGET = 1.5
PAIRS = 15

BARE = """
import typer
app = typer.Typer()
@app.command()
def greet(name: str = "you") -> None:
    "Say hello."
app()
"""

LISTINGS = ("receivers", "plugins", "writers", "engines")


def seconds(command: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of one run, its interpreter's start included."""
    # Bytecode is cached, as on a user's machine, whatever this shell says.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, started = os.times(), perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def compare(command: list[str], bare: list[str], pairs: int) -> tuple[float, float]:
    """Return the median ratio of ``command`` to ``bare``, in wall and in CPU seconds."""
    seconds(command)  # both write their bytecode first
    seconds(bare)
    ratios = []
    for _ in range(pairs):
        own, floor = seconds(command), seconds(bare)
        ratios.append((own[0] / floor[0], own[1] / floor[1]))
    return median(wall for wall, _ in ratios), median(cpu for _, cpu in ratios)


def main() -> None:
    """Print a line for each listing; fail if one is over the budget."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    over = False
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text(BARE)
        for name in LISTINGS:
            command = [sys.executable, "-m", "fedtrack", name, "list"]
            wall, cpu = compare(command, [sys.executable, str(script), "--help"], pairs)
            over |= cpu > BUDGET
            print(f"fedtrack {name} list: {wall:.2f} x wall, {cpu:.2f} x CPU of a bare typer --help ({pairs} pairs)")
    if over:
        sys.exit(f"Over the budget of {BUDGET} x.")


if __name__ == "__main__":
    main()
