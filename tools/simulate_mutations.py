"""Simulated mutations: one protection at a time is removed from a copy of the source, and simulated until it is missed.

    python tools/simulate_mutations.py               # all that are in Python
    python tools/simulate_mutations.py crc fork      # those whose name contains one of the words
    python tools/simulate_mutations.py --write       # and keep the results, and write them into docs/reliability.md

``mutation_check.py`` asks whether a test notices the removal; this asks whether the simulation does. It does not reach
every protection: some are beside the protocol, and some need threads, forks, or another version.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mutation_check import PAGE, ROOT, copy_tree
from mutations import MUTATIONS, Mutation

RESULTS = ROOT / "tools" / "simulated_mutations.json"
BEGIN, END = "<!-- written by tools/simulate_mutations.py -->\n", "<!-- end of the simulated mutations -->\n"
_NOT_FOUND = -1
#: A simulation that does not end is noticed, too.
_PATIENCE_SECONDS = 1_200


def simulate(mutation: Mutation, tree: Path, seeds: int) -> tuple[int, str]:
    """Return the first seed that fails without the protection, or -1, and what it breaks."""
    path = tree / mutation.file
    source = path.read_text()
    path.write_text(source.replace(mutation.old, mutation.new))
    environment = os.environ | {
        "PYTHONPATH": str(tree / "core" / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FEDTRACK_SPEEDUPS": "0",
    }
    command = [sys.executable, "tests/simulation/simulate.py", "--first", "--seeds", "0", str(seeds)]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    finally:
        path.write_text(source)
    found = re.match(r"seed (\d+): ([^:]*)", done.stdout)
    if found is None and done.returncode:
        raise SystemExit(f"{mutation.name}: the simulation could not run:\n{done.stderr[-2000:]}")
    return (int(found[1]), found[2]) if found else (_NOT_FOUND, "")


def table(results: dict[str, list[object]]) -> str:
    """Return the results in Markdown."""
    lines = ["| protection removed | found by | as |", "|---|---|---|"]
    for mutation in MUTATIONS:
        if mutation.name in results:
            seed, rule = results[mutation.name]
            found = "not found" if seed == _NOT_FOUND else f"seed {seed}"
            lines.append(f"| {mutation.name} | {found} | {rule} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate the requested mutations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seeds", type=int, default=400, help="the most seeds for each")
    parser.add_argument("--write", action="store_true", help="keep the results, and write them into the page")
    arguments = parser.parse_args()
    results: dict[str, list[object]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory(prefix="fedtrack-mutations-") as folder:
        copy_tree(Path(folder))
        for mutation in MUTATIONS:
            wanted = not arguments.words or any(word in mutation.name.lower() for word in arguments.words)
            if wanted and not mutation.file.endswith((".c", ".h")):
                seed, rule = simulate(mutation, Path(folder), arguments.seeds)
                results[mutation.name] = [seed, rule]
                print(
                    f"{'not found' if seed == _NOT_FOUND else f'seed {seed}':<10} {mutation.name}: {rule}", flush=True
                )
    if arguments.write:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(head + BEGIN + table(results) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
