"""Runs the benchmarks and prints, or writes, their tables."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import hello_job, log_call, throughput

BENCHMARKS = {"log_call": log_call.run, "throughput": throughput.run, "hello_job": hello_job.run}
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

INTRODUCTION = """# What it costs

Written by `make bench`. Everything in one table was measured in one run, in alternating blocks; the machine is shared
and noisy, so trust the ratios and not the absolute numbers. `python benchmarks/cli_start.py` measures the command line.
"""


def machine() -> str:
    """Say what was measured with."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "mlflow", "wandb", "tensorboard"))
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}; {versions}."


def main() -> None:
    """Run all benchmarks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="all, if none is named")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} as well")
    args = parser.parse_args()
    parts = [INTRODUCTION, machine()]
    for name in args.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr)
        parts.append(BENCHMARKS[name]())
        print(parts[-1] + "\n")
    if args.write:
        PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main()
