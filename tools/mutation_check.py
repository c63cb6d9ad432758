"""Mutation check: one protection at a time is removed from a copy of the source, and a test must fail.

    python tools/mutation_check.py            # all
    python tools/mutation_check.py crc fork   # those whose name contains one of the words
    python tools/mutation_check.py --write    # all, and the table in docs/reliability.md

If no test notices the removal of a protection, a later change could remove it by mistake.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by tools/mutation_check.py -->\n", "<!-- end -->\n"
#: Seconds until tests count as endless: code without its protection may loop forever, which is noticed too.
_PATIENCE_SECONDS = 60


class Outcome(NamedTuple):
    """The test that noticed the removal; "" if none did."""

    mutation: Mutation
    noticed: str
    seconds: float


def copy_tree(target: Path) -> None:
    """Copy all tracked files, and no file that git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def check(mutation: Mutation, tree: Path) -> Outcome:
    """Run the tests of a mutation in ``tree``, and restore the tree afterwards."""
    path = tree / mutation.file
    source = path.read_text()
    if source.count(mutation.old) != 1:
        raise SystemExit(
            f"{mutation.name}: {mutation.file} holds the text {source.count(mutation.old)} times, not once."
        )
    path.write_text(source.replace(mutation.old, mutation.new))
    begun = monotonic()
    try:
        compiled = mutation.file.endswith((".c", ".h"))
        if compiled:
            build(tree)
        output = run_tests(tree, mutation.tests, compiled=compiled)
    finally:
        path.write_text(source)
    failed = [line.split()[1] for line in output.splitlines() if line.startswith("FAILED ")]
    return Outcome(mutation, failed[0] if failed else "", monotonic() - begun)


def build(tree: Path) -> None:
    """Compile the C code in ``tree``, in place."""
    build = (
        "from pathlib import Path; import sys; import hatch_build as b; "
        "sys.exit(b.compile_extension(b.SOURCE, b.EXTENSION) or 0)"
    )
    subprocess.run([sys.executable, "-c", build], cwd=tree / "core", capture_output=True, check=True)


def run_tests(tree: Path, tests: tuple[str, ...], *, compiled: bool) -> str:
    """Return pytest's output for the code in ``tree``, with the compiled spool or with the one in Python."""
    parts = [tree / "core", *sorted((tree / "plugins").iterdir())]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(part / "src") for part in parts),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FEDTRACK_SPEEDUPS": str(int(compiled)),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "20", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"FAILED {tests[0]} (it never ends)"
    if done.returncode < 0:
        return f"FAILED {tests[0]} (the process dies)"
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run {tests}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes in Markdown."""
    lines = ["| protection removed | where | noticed by |", "|---|---|---|"]
    for mutation, noticed, _ in outcomes:
        test = noticed.partition("::")[2].partition("[")[0]
        file = Path(noticed.partition("::")[0]).name
        lines.append(f"| {mutation.name} | `{Path(mutation.file).name}` | `{file}`: `{test}` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Check the requested mutations; exit code 1 if no test notices one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    arguments = parser.parse_args()
    wanted = [m for m in MUTATIONS if not arguments.words or any(w in m.name.lower() for w in arguments.words)]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="fedtrack-mutations-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        for mutation in wanted:
            outcomes.append(check(mutation, tree))
            noticed, seconds = outcomes[-1].noticed, outcomes[-1].seconds
            print(f"{'red' if noticed else 'UNNOTICED':<10} {seconds:5.1f} s  {mutation.name}: {noticed}", flush=True)
    unnoticed = [outcome for outcome in outcomes if not outcome.noticed]
    if arguments.write and not unnoticed and not arguments.words:
        text = PAGE.read_text()
        head, _, rest = text.partition(BEGIN)
        PAGE.write_text(head + BEGIN + table(outcomes) + END + rest.partition(END)[2])
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
