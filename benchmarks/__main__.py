"""Runs the benchmarks and prints their tables, or writes them into docs/performance.md.

python -m benchmarks                        # the benchmarks of `make bench`
python -m benchmarks --full                 # longer, and with the peers that have environments of their own
python -m benchmarks log_call throughput    # only these two
python -m benchmarks --write                # also replace the tables in docs/performance.md
python -m benchmarks hello_job --write      # replace only this part of the page
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, strftime
from typing import NamedTuple, Protocol, cast

from benchmarks.table import Table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by python -m benchmarks -->\n", "<!-- end -->\n"
#: The marker before each benchmark's part of the page, which has the benchmark's name.
PART = "<!-- {} -->\n"
_PART = re.compile(r"<!-- ([\w.]+) -->\n\n(.*?)\n*(?=<!-- [\w.]+ -->\n|\Z)", re.DOTALL)


class Benchmark(Protocol):
    """The interface of a benchmark's module.

    Attributes:
        title: The measured quantity, in a few words.
    """

    title: str

    def run(self, quick: bool) -> list[Table]:
        """Measure. With ``quick`` it takes a minute or two, otherwise as long as steady figures need."""


class Entry(NamedTuple):
    """A benchmark by its module's name, below this package.

    Attributes:
        name: The name that users type, which is the module's.
        quick: Whether `make bench` runs it, because it takes little time and needs only this environment.
    """

    name: str
    quick: bool = True


#: In the order of the page. A module that does not exist is left out.
REGISTRY = (
    Entry("log_call"),
    Entry("busy_thread"),
    Entry("breakdown"),
    Entry("throughput"),
    Entry("latency"),
    Entry("cli_start"),
    Entry("hello_job"),
    Entry("hello_breakdown"),
    Entry("virtual_sites"),
    Entry("model_exchange"),
    Entry("durability"),
    Entry("outage", quick=False),
    Entry("memory", quick=False),
    Entry("peers.hello", quick=False),
)


def load(name: str) -> Benchmark | None:
    """Return a benchmark's module; None if there is none of that name."""
    package = f"benchmarks.{name}".rpartition(".")[0]
    if find_spec(package) is None or find_spec(f"benchmarks.{name}") is None:
        return None
    return cast("Benchmark", import_module(f"benchmarks.{name}"))


def machine() -> str:
    """Return a description of the machine and the versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "mlflow", "wandb", "tensorboard", "numpy"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"Each on {os.cpu_count()} cores ({_processor()}) with {memory:.0f} GiB of memory; {system}, {versions}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def section(name: str, benchmark: Benchmark, *, full: bool) -> str:
    """Run one benchmark and return its part of the page."""
    print(f"{name}: {benchmark.title} ...", file=sys.stderr, flush=True)
    begun, load_before = perf_counter(), ", ".join(f"{value:.1f}" for value in os.getloadavg())
    tables = benchmark.run(not full)
    command = f"python -m benchmarks {name}{' --full' if full else ''}"
    parts = [f"### {table.title}\n\n{table.markdown()}" for table in tables]
    when = f"{strftime('%Y-%m-%d')}, {perf_counter() - begun:.0f} s, load before {load_before}"
    return "\n\n".join([*parts, f"`{command}`: {when}."])


def write(found: dict[str, str]) -> None:
    """Replace parts between the markers of the page; the rest of the page is kept.

    Args:
        found: Parts of the page by the benchmark's name.
    """
    head, _, rest = PAGE.read_text().partition(BEGIN)
    before, _, tail = rest.partition(END)
    parts = dict(_PART.findall(before)) | found
    known = [entry.name for entry in REGISTRY if entry.name in parts]
    body = [machine(), *(PART.format(name) + "\n" + parts[name] for name in known)]
    PAGE.write_text(head + BEGIN + "\n" + "\n\n".join(body) + "\n\n" + END + tail)


def main(arguments: list[str] | None = None) -> None:
    """Run all benchmarks, or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(entry.name for entry in REGISTRY))
    parser.add_argument("--full", action="store_true", help="longer runs, and the peers")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} as well")
    args = parser.parse_args(arguments)
    known = [entry.name for entry in REGISTRY]
    if unknown := [name for name in args.names if name not in known]:
        parser.error(f"there is no benchmark {unknown[0]!r}; valid are {', '.join(known)}")
    print(machine() + "\n")
    for name in args.names or [entry.name for entry in REGISTRY if entry.quick or args.full]:
        benchmark = load(name)
        if benchmark is None:
            print(f"{name}: not here", file=sys.stderr)
            continue
        part = section(name, benchmark, full=args.full)
        print(part + "\n", flush=True)
        if args.write:
            write({name: part})  # at once: a failure of a later benchmark must not lose these figures


if __name__ == "__main__":
    main()
