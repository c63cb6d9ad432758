"""Simulate: run a plan, and say what it broke.

python tests/simulation/simulate.py SEED                  # one seed
python tests/simulation/simulate.py --seeds 0 2000        # many
python tests/simulation/simulate.py SEED:0,disk,1,400 ... # the trace that a failure prints
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simulation import plan as plans
from simulation.check import check
from simulation.plan import Plan
from simulation.settle import settle
from simulation.shrink import shrink
from simulation.steps import apply
from simulation.world import World

_MEMORY = Path("/dev/shm")
COMMAND = "python tests/simulation/simulate.py"


def simulate(plan: Plan) -> str:
    """Run a plan and return the first thing that it broke, or ""."""
    folder = Path(tempfile.mkdtemp(prefix="fedtrack-simulation-", dir=_MEMORY if _MEMORY.is_dir() else None))
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        world = World(folder, plan)
        with world.in_use():
            return _run(world)
    finally:
        logging.disable(level)
        shutil.rmtree(folder)


def _run(world: World) -> str:
    step: object = None
    try:
        world.a_server()  # sites start after the journal was made
        for step in world.plan.steps:
            apply(world, step)
            if world.trace.broken:
                return world.trace.broken[0]
        step = "the end"
        settle(world)
        if world.trace.broken:
            return world.trace.broken[0]
        return next(check(world), "")
    except Exception as error:
        # Of any kind: the code under test must not raise it.
        trail = error.__traceback__
        while trail is not None and trail.tb_next is not None:
            trail = trail.tb_next
        where = f"{Path(trail.tb_frame.f_code.co_filename).name}:{trail.tb_lineno}" if trail else ""
        return f"error: {type(error).__name__} at {where} in {step}: {error}"


def explain(plan: Plan, broken: str) -> str:
    """Return a message with the shortest plan that breaks the same invariant, and the command that repeats it."""
    small, still = shrink(plan, broken, simulate)
    lines = [f"seed {plan.seed}: {broken}", f"{len(small.steps)} of {len(plan.steps)} steps are enough: {still}"]
    lines += [f"  {name} {' '.join(map(str, numbers))}" for name, numbers, _ in small.steps]
    return "\n".join([*lines, "Repeat it with:", f"  {COMMAND} {plans.show(small)}"])


def main() -> None:
    """Run what the command line asks for; exit code 1 if something is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="*", help="a seed, or a trace")
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FIRST", "END"))
    parser.add_argument("--all", action="store_true", help="go on after a failure, and only name the seeds")
    parser.add_argument("--first", action="store_true", help="end at the first failure, and do not shrink it")
    arguments = parser.parse_args()
    if arguments.seeds:
        todo = (plans.make(seed) for seed in range(*arguments.seeds))
    else:
        words = arguments.trace
        todo = iter([plans.make(int(words[0])) if len(words) == 1 and words[0].isdigit() else plans.read(words)])
    failed = False
    for plan in todo:
        broken = simulate(plan)
        if broken:
            failed = True
            print(
                f"seed {plan.seed}: {broken}" if arguments.all or arguments.first else explain(plan, broken), flush=True
            )
            if not arguments.all:
                break
    sys.exit(failed)


if __name__ == "__main__":
    main()
