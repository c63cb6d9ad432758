"""The examples of `fedtrack.connect` run as they are, and everything that they log arrives."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.collector import CollectorProcess, environment

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "collect"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    found = CollectorProcess(tmp_path_factory.mktemp("collect"))
    found.start()
    yield found
    found.close()


def play(collector: CollectorProcess, folder: Path, run: str, *command: str) -> str:
    env = environment(collector, folder, "", run, collector.token("*"))
    env = {name: value for name, value in env.items() if value or not name.startswith("FEDTRACK_")}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(collector: CollectorProcess, run: str) -> dict[str, list[int]]:
    """Return the steps of the losses by site; a record of a metric is kind, time, key, value, step."""
    return {
        site: [event[7] for event in events if event[3] == 1 and event[5] == "loss"]
        for site, events in collector.events(run).items()
        if site != "server"  # what it makes of theirs
    }


def test_a_script_of_cron(collector: CollectorProcess, tmp_path: Path) -> None:
    play(collector, tmp_path, "", str(EXAMPLES / "nightly.py"))
    (run,) = [path.name for path in (collector.folder / "runs").glob("nightly-*")]
    (steps,) = losses(collector, run).values()
    assert steps == list(range(200))


@pytest.mark.torch
def test_ranks_of_torch_distributed(collector: CollectorProcess, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    play(collector, tmp_path, "ranks", *launcher, str(EXAMPLES / "ranks.py"))
    assert losses(collector, "ranks") == {"rank-0": list(range(50)), "rank-1": list(range(50))}


def test_jobs_of_slurm(collector: CollectorProcess, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="it is no dependency of anything here")
    shutil.copy(EXAMPLES / "slurm.py", tmp_path)
    assert play(collector, tmp_path, "slurm", "slurm.py").strip() == "events that have not arrived: 0"
    found = losses(collector, "slurm")
    assert found == {f"hospital-{letter}": list(range(100)) for letter in "abc"}
