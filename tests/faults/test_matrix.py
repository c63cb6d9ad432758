"""Whatever happens to a run: what its commands say of it is true, and what can arrive does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from faults.agreement import disagreements, say
from faults.bench import PLUGIN, Bench
from faults.rows import DELIVERER, ROWS, Row

from fedtrack.errors import FedtrackError
from support.throwaway import Install, install, site

__all__ = ["install", "site"]

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """Return a file system of the row's size; None if the row needs none."""
    row: Row = request.getfixturevalue("row")
    if not row.small_disk:
        yield None
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={row.small_disk}k,mode=700", "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting needs rights that this process lacks: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_what_is_said_of_a_run_is_true(row: Row, tmp_path: Path, install: Install, small_disk: Path | None) -> None:
    if row.slow and os.environ.get("FEDTRACK_SOAK") != "1":
        pytest.skip("it takes long: make soak")
    if row in DELIVERER and find_spec("fedtrack.delivery.deliverer") is None:
        pytest.skip("receivers are in the server's process")
    install("fedtrack-file", PLUGIN)
    bench = Bench(tmp_path / "home", tmp_path / "site", small_disk / "ws" if small_disk else None)
    bench.mood(row.mood)
    code = bench.run(row.fault, closed_stdout=row.closed_stdout)
    assert not row.codes or code in row.codes, bench.output
    assert "Traceback (most recent call last)" not in bench.output, bench.output
    if row.harm is not None:
        row.harm(bench.workspace)
    _agree(bench, row, code)
    if small_disk is not None:
        subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    bench.mood("")
    for command in row.cure:
        _cure(bench, command)
    _agree(bench, row)
    if row.lossless:
        assert bench.facts().everything_arrived, bench.output


def _cure(bench: Bench, command: tuple[str, ...]) -> None:
    """Run a command on the workspace; ``kill`` before it kills it in the middle."""
    if command[0] == "kill":
        bench.mood("slow")
        bench.command(*command[1:], str(bench.workspace), stop_after=1.5)
        bench.mood("")
        return
    words = [str(bench.workspace) if word == "RUN" else word for word in command]
    if "RUN" not in command:
        words.append(str(bench.workspace))
    bench.command(*words)
    assert "Traceback (most recent call last)" not in bench.output, bench.output


def _agree(bench: Bench, row: Row, code: int | None = None) -> None:
    """Compare what is said of the run with its files; where these are damaged, nothing may be called complete."""
    if row.harm is None:
        ended = code if code is not None and code >= 0 else None
        swallowed = row.mood == "200 {}" and code is not None
        found = list(disagreements(bench.facts(), bench.workspace, ended, swallowed=swallowed))
        assert not found, [*found, bench.output]
        return
    try:
        shows, text = say("runs", "show", str(bench.workspace))
        verifies, checks = say("runs", "verify", str(bench.workspace))
    except FedtrackError:
        return  # a command that says why it cannot look calls nothing complete
    arrived = bench.facts().everything_arrived
    if not arrived or (
        row.what.startswith("journal") and code is not None
    ):  # whose damage is said until it is salvaged
        assert verifies == 1, checks
    if not arrived:
        assert shows or "events: complete" not in text, text
