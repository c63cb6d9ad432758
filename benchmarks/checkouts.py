"""Checkouts: two checkouts are measured in turn, and the ratio of each pair is taken.

    python -m benchmarks.checkouts OTHER [--pairs 7] [name ...]

Each checkout runs its own benchmarks in its own environment (``.venv``), in a process of its own. One pair is this
checkout and the other one, in an order that changes from pair to pair, so that both see the same load of the machine.
The ratio is this checkout's figure over the other's: below 1 is faster or smaller. Its interval holds the median of
the ratios with 95 % confidence (bootstrap over the pairs).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.table import Table, spread

ROOT = Path(__file__).resolve().parent.parent
RESAMPLES = 2000

_CALLS = """
from benchmarks.log_call import measure, training_step
from benchmarks.log_writers import fedtrack_batch, fedtrack_mlflow_writer, fedtrack_python_writer
from benchmarks.table import quantile
ways = {"compiled": fedtrack_mlflow_writer, "in Python": fedtrack_python_writer, "1,000 values": fedtrack_batch}
found = measure(ways, 4, 1000, training_step())
report({f"log call between training steps, {name}, p50": quantile(times, 0.5) for name, times in found.items()})
"""
_JOURNAL = """
from benchmarks.throughput import into_journal
report({f"one event of {sites} sites into the journal": 1e6 / into_journal(sites)[0] for sites in (2, 8)})
"""
_LATENCY = """
from statistics import median
from benchmarks.latency import BACKENDS, measure
report({"from the log call into TensorBoard's file, p50": median(measure(next(iter(BACKENDS)), 100.0, 3.0))})
"""
_HELLO = """
import sys, tempfile
from benchmarks.hello_job import measure
with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, "-m", "fedtrack", "examples", "run", "hello-pt-mlflow", "--", "--workspace", folder]
    wall, cpu, peak = measure(command)
report({"hello job with MLflow, wall": wall, "hello job with MLflow, CPU": cpu, "hello job with MLflow, memory": peak})
"""
_VIRTUAL = """
import sys, tempfile
from pathlib import Path
from benchmarks import virtual_sites as v
from benchmarks.hello_job import measure
with tempfile.TemporaryDirectory() as folder:
    for name, source in {"step": v.STEP, "client": v.CLIENT, "job": v.JOB}.items():
        (Path(folder) / f"{name}.py").write_text(source.replace("ROUNDS", str(v.ROUNDS)))
    wall, cpu, peak = measure([sys.executable, "job.py", "1000", "ws", "none"], Path(folder))
report({"1,000 virtual sites, wall": wall, "1,000 virtual sites, memory": peak})
"""
_MODELS = """
import contextlib, io, tempfile
from pathlib import Path
from statistics import median
from benchmarks.model_exchange import MB, exchange, time_averages
with tempfile.TemporaryDirectory() as folder:
    run = exchange(Path(folder), 100 * MB, 2, 4)
with contextlib.redirect_stdout(io.StringIO()) as printed:
    time_averages()
averages = json.loads(printed.getvalue())["WeightedAggregator"]
report({"a round with a model of 100 MB": median(run.seconds), "averaging": median(averages)})
"""
_LISTINGS = """
import os, sys
from benchmarks.cli_start import seconds
from statistics import median
fedtrack = os.path.join(os.path.dirname(sys.executable), "fedtrack")
for listing in ("--help", "receivers list", "plugins list"):
    seconds([fedtrack, *listing.split()])
    report({f"fedtrack {listing}, CPU": median(seconds([fedtrack, *listing.split()])[1] for _ in range(5))})
"""
_DURABLE = """
import tempfile
from pathlib import Path
from benchmarks.durability import times
for durability, calls in (("process", 20000), ("host", 20000), ("disk", 300)):
    with tempfile.TemporaryDirectory() as folder:
        found = times(Path(folder), durability, calls, read=True)
    report({f"log call while it is read, durability {durability}, p50": found[len(found) // 2]})
"""

#: What is measured, by the name that selects it.
PROBES = {
    "log_call": _CALLS,
    "journal": _JOURNAL,
    "latency": _LATENCY,
    "hello_job": _HELLO,
    "virtual_sites": _VIRTUAL,
    "models": _MODELS,
    "listings": _LISTINGS,
    "durability": _DURABLE,
}

_REPORT = """
import json, sys
def report(found):
    print("figures", json.dumps(found), file=sys.__stdout__, flush=True)
"""


def figures(checkout: Path, probe: str) -> dict[str, float]:
    """Run a probe in a checkout's own environment and return its figures by what they say.

    Raises:
        SystemExit: It failed.
    """
    command = [str(checkout / ".venv" / "bin" / "python"), "-c", _REPORT + PROBES[probe]]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("figures ")]
    if done.returncode or not lines:
        raise SystemExit(f"{probe} failed in {checkout}:\n{done.stderr[-2000:]}")
    return {name: value for line in lines for name, value in json.loads(line.removeprefix("figures ")).items()}


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return between which bounds the median of the ratios is, with 95 % confidence."""
    draw = random.Random(0)
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def compare(other: Path, names: Sequence[str], pairs: int) -> Table:
    """Measure both checkouts by turns and return a row for each figure."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name in names:
        for pair in range(-1, pairs):
            print(f"{name}: pair {pair + 1} of {pairs}", file=sys.stderr, flush=True)
            turns = [ROOT, other] if pair % 2 else [other, ROOT]
            taken = {checkout: figures(checkout, name) for checkout in turns}
            if pair < 0:
                continue  # both write their bytecode and fill the caches first
            for what, ours in taken[ROOT].items():
                found.setdefault(what, []).append((ours, taken[other][what]))
    rows = []
    for what, values in found.items():
        ratios = [ours / theirs for ours, theirs in values]
        low, high = interval(ratios)
        rows.append((what, spread(ratios), f"{low:.2f} to {high:.2f}"))
    columns = ("this checkout over the other", "ratio (least to greatest)", "95 % interval of the median")
    return Table(
        "Two checkouts", columns, rows, f"{pairs} pairs of each, by turns; one more before them is not counted."
    )


def main() -> None:
    """Compare this checkout with the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout, with an environment of its own in .venv")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(PROBES))
    parser.add_argument("--pairs", type=int, default=7, help="how many; 7 by default")
    arguments = parser.parse_intermixed_args()
    if unknown := set(arguments.names) - set(PROBES):
        parser.error(f"{sorted(unknown)[0]!r} is unknown; valid are {', '.join(PROBES)}")
    for name in arguments.names or PROBES:  # each as soon as it is measured: all of them take half an hour
        print(compare(arguments.other.resolve(), [name], arguments.pairs).markdown(), flush=True)


if __name__ == "__main__":
    main()
