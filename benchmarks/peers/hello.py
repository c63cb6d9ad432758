"""The hello job on fedtrack and its peers, compared with the same training in one plain PyTorch process.

    python -m benchmarks.peers.hello                             # every arm, three times, in turn; minutes
    python -m benchmarks.peers.hello plain fedtrack-mlflow --repeats 1
    python -m benchmarks.peers.hello --virtual                   # 1,000 virtual sites, 3 rounds of 1 step each
    python -m benchmarks.peers.hello --virtual pfl --json        # one JSON object per run, for another benchmark

Two sites train five rounds of about a hundred steps; a tracked arm logs every step. An arm whose run is not complete
has no figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.peers.environments import interpreter, variables
from benchmarks.peers.process_tree import measured
from benchmarks.table import Table

title = "Beside FLARE, Flower and pfl"

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 1800.0

#: Each arm's name, interpreter and arguments; all arms are compared with the first one.
HELLO = {
    "plain": ("", "plain_hello.py"),
    "plain-1-thread": ("", "plain_hello.py", "--threads", "1"),
    "fedtrack": ("", "fedtrack_hello.py", "--tracking", "none"),
    "fedtrack-tensorboard": ("", "fedtrack_hello.py", "--tracking", "tensorboard"),
    "fedtrack-mlflow": ("", "fedtrack_hello.py", "--tracking", "mlflow"),
    "flare": ("flare", "flare_hello.py", "--tracking", "none"),
    "flare-tensorboard": ("flare", "flare_hello.py", "--tracking", "tensorboard"),
    "flare-mlflow": ("flare", "flare_hello.py", "--tracking", "mlflow"),
    "flower": ("flower", "flower_hello.py"),
    "pfl": ("pfl", "pfl_hello.py"),
}
VIRTUAL = {
    "plain": ("", "plain_hello.py", "--virtual"),
    "plain-1-thread": ("", "plain_hello.py", "--virtual", "--threads", "1"),
    "fedtrack": ("", "fedtrack_hello.py", "--virtual", "--tracking", "none"),
    "fedtrack-tensorboard": ("", "fedtrack_hello.py", "--virtual", "--tracking", "tensorboard"),
    "flower": ("flower", "flower_hello.py", "--virtual"),
    "pfl": ("pfl", "pfl_hello.py", "--virtual"),
}

#: The number of notes of a complete run: one per site and round, or one per step of a virtual site.
COMPLETE = {"round_ends": 10, "step": 3000}


@dataclass(frozen=True)
class Run:
    """A complete run of an arm.

    Attributes:
        arm: The arm's name.
        wall: Wall time, seconds.
        cpu: Processor time of all processes, seconds.
        peak: Largest memory (PSS) of all processes together, bytes.
        before: Seconds until the first round's training began; None for virtual sites.
        after: Seconds from the end of the last round's training to the end of the run; None for virtual sites.
        log_call: The median log call in nanoseconds; None if the arm logs nothing.
    """

    arm: str
    wall: float
    cpu: float
    peak: int
    before: float | None
    after: float | None
    log_call: float | None


def run_arm(name: str, peer: str, script: str, *arguments: str, virtual: bool) -> Run:
    """Run one arm once.

    Raises:
        RuntimeError: The run failed or is not complete; the message ends with its output.
    """
    python = str(interpreter(peer)) if peer else sys.executable
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        notes, output = folder / "notes", folder / "output"
        command = [python, str(HERE / script), temporary, *arguments]
        try:
            usage = measured(
                command,
                variables() | {"HELLO_NOTES": str(notes), "FEDTRACK_SITE_VARIABLES": "HELLO_NOTES"},
                output,
                TIMEOUT_SECONDS,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(f"{name}: {error}\n{output.read_text()[-3000:]}") from None
        found = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        what = "step" if virtual else "round_ends"
        done = sum(what in line for line in found)
        if done != COMPLETE[what]:  # Flower ends with status 0 when every client has failed
            raise RuntimeError(f"{name}: {done} of {COMPLETE[what]} times {what}\n{output.read_text()[-3000:]}")
    begins, ends, calls = (
        [line[key] for line in found if key in line] for key in ("round_begins", "round_ends", "log_call_ns")
    )
    return Run(
        name,
        usage.wall,
        usage.cpu,
        usage.peak,
        min(begins) - usage.began if begins else None,
        usage.began + usage.wall - max(ends) if ends else None,
        median(calls) if calls else None,
    )


def runs(arms: dict[str, tuple[str, ...]], repeats: int, *, virtual: bool) -> Iterator[Run]:
    """Run all arms in turn, ``repeats`` times; a run that fails is reported on stderr and left out."""
    for _ in range(repeats):
        for name, (peer, script, *arguments) in arms.items():
            try:
                yield run_arm(name, peer, script, *arguments, virtual=virtual)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(error, file=sys.stderr)


def result_table(found: Sequence[Run], title: str) -> Table:
    """Return medians, and their ratios to the first arm's run of the same turn."""
    arms = list(dict.fromkeys(run.arm for run in found))
    base = [run for run in found if run.arm == arms[0]]

    def cell(mine: list[Run], key: str, scale: float, unit: str) -> str:
        values = [getattr(run, key) for run in mine if getattr(run, key) is not None]
        if not values:
            return ""
        shown = f"{median(values) * scale:,.1f} {unit}"
        if key not in ("wall", "cpu", "peak") or len(mine) != len(base):
            return shown
        ratios = [getattr(a, key) / getattr(b, key) for a, b in zip(mine, base, strict=True)]
        spread = f", {min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else ""
        return f"{shown} ({median(ratios):.2f} x{spread})"

    rows = []
    for arm in arms:
        mine = [run for run in found if run.arm == arm]
        rows.append(
            (
                arm,
                cell(mine, "wall", 1, "s"),
                cell(mine, "cpu", 1, "s"),
                cell(mine, "peak", 2**-20, "MiB"),
                cell(mine, "before", 1, "s"),
                cell(mine, "after", 1, "s"),
                cell(mine, "log_call", 1e-3, "µs"),
            )
        )
    columns = ("arm", "wall", "CPU", "peak memory, PSS", "to the first round", "after the last step", "log call, p50")
    note = "Medians, with the ratio to the first row's run of the same turn and its least and greatest value."
    return Table(title, columns, rows, note)


def run(quick: bool = False) -> list[Table]:
    """Return the tables; a peer that cannot be installed is reported on stderr and left out."""
    missing = set()
    for peer in ("flare", "flower", "pfl"):
        try:
            interpreter(peer)  # before anything is measured
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{peer} is not installed: {error}", file=sys.stderr)
            missing.add(peer)
    tables = []
    for arms, virtual in ((HELLO, False), (VIRTUAL, True)):
        wanted = {name: arm for name, arm in arms.items() if arm[0] not in missing}
        found = list(runs(wanted, 1 if quick else 3, virtual=virtual))
        tables.append(result_table(found, _title(virtual)))
    return tables


def _title(virtual: bool) -> str:
    return "1,000 virtual sites, 3 rounds of 1 step" if virtual else "2 sites, 5 rounds of about 100 steps"


def main() -> None:
    """Run the named arms, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="*", help=f"any of {', '.join(HELLO)}")
    parser.add_argument("--virtual", action="store_true", help=f"1,000 virtual sites: {', '.join(VIRTUAL)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print each run as a JSON object instead of a table")
    args = parser.parse_args()
    known = VIRTUAL if args.virtual else HELLO
    if unknown := set(args.arms) - known.keys():
        parser.error(f"there is no arm {sorted(unknown)[0]!r}; valid are {', '.join(known)}")
    arms = {name: known[name] for name in args.arms or known}
    for peer in {peer for peer, *_ in arms.values()} - {""}:
        interpreter(peer)  # before anything is measured
    found = []
    for run in runs(arms, args.repeats, virtual=args.virtual):
        print(json.dumps(asdict(run)), file=sys.stdout if args.json else sys.stderr, flush=True)
        found.append(run)
    if found and not args.json:
        print(result_table(found, _title(args.virtual)).markdown())


if __name__ == "__main__":
    main()
