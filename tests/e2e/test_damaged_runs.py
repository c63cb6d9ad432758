"""A run with damaged files: each command works on it or says why not, nothing is lost in silence, and salvage helps."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedtrack.cli.app import build_app
from fedtrack.delivery.ledger import Ledger
from fedtrack.errors import FedtrackError
from fedtrack.journal.journal import Journal
from fedtrack_tensorboard import TBAnalyticsReceiver

from .conftest import make_job
from .stores import read_tensorboard

PAGE = 4096
COMMANDS = ("list", "show", "verify", "status", "dlq list", "prune", "replay")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a finished run whose journal has some pages."""
    workspace = tmp_path_factory.mktemp("finished") / "ws"
    job = make_job("log_steps.py", analytics_receiver=False)
    job.to_server(TBAnalyticsReceiver(), id="tb")
    result = job.simulator_run(workspace)
    assert result.events_complete
    return workspace


def runs(command: str, *arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and what it said; every other exception than fedtrack's own is a failure."""
    result = CliRunner().invoke(build_app(), ["runs", *command.split(), *arguments])
    error = result.exception
    if isinstance(error, FedtrackError):
        assert "\n" not in str(error), "one sentence"
        return error.exit_code, str(error)
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return result.exit_code, result.output


def zero(at: int, size: int) -> Callable[[Path], None]:
    def work(path: Path) -> None:
        data = bytearray(path.read_bytes())
        at_ = at % len(data)
        data[at_ : at_ + size] = bytes(len(data[at_ : at_ + size]))
        path.write_bytes(data)

    return work


def swap(path: Path) -> None:
    data = bytearray(path.read_bytes())
    pages = len(data) // PAGE
    first, second = random.Random(5).sample(range(1, pages), 2)
    one, two = slice(first * PAGE, first * PAGE + PAGE), slice(second * PAGE, second * PAGE + PAGE)
    data[one], data[two] = bytes(data[two]), bytes(data[one])
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"something else " * 1000)


#: Damage to a database that cannot be used any more, or only in part.
DAMAGES: dict[str, Callable[[Path], None]] = {
    "first sector zeroed": zero(0, 512),
    "first page zeroed": zero(0, PAGE),
    "second page zeroed": zero(PAGE, PAGE),
    "a sector in the middle zeroed": zero(5 * PAGE, 512),
    "last page zeroed": zero(-PAGE, PAGE),
    "pages swapped": swap,
    "halved": halve,
    "another file in its place": garbage,
    "emptied": lambda path: path.write_bytes(b"") and None,
    "deleted": Path.unlink,
}


def _events(path: Path) -> int:
    if not path.exists() or not path.stat().st_size:
        return 0
    journal = Journal(path, read_only=True)
    journal.check()
    found = sum(1 for batch in journal.read(0, limit_bytes=2**40) for _ in batch.events())
    journal.close()
    return found


@pytest.mark.parametrize("file", ["journal.db", "delivery.db"])
@pytest.mark.parametrize("name", DAMAGES)
def test_each_command_works_or_says_why_not_and_salvage_helps(
    finished: Path, tmp_path: Path, name: str, file: str
) -> None:
    workspace = tmp_path / "ws"
    shutil.copytree(finished, workspace, symlinks=True)
    folder = workspace / "server" / "simulate_job"
    points = {site: found.points for site, found in read_tensorboard(folder / "tb_events").items()}
    DAMAGES[name](folder / file)
    is_lost = file == "journal.db" and _events(folder / file) < _events(finished / "server" / "simulate_job" / file)

    for command in COMMANDS:
        code, said = runs(command, str(workspace))
        assert said.strip(), command
        if command == "verify" and file == "journal.db":
            assert code != 0, f"{command} must not call it whole: {said}"
            assert "Everything is there." not in said
        if command == "show" and is_lost:
            assert "events: complete" not in said

    code, said = runs("salvage", str(workspace))
    assert code == 0, said
    for path in (folder / "journal.db", folder / "delivery.db"):
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    code, said = runs("replay", str(workspace))
    assert code == 0, said
    after = {site: found.points for site, found in read_tensorboard(folder / "tb_events").items()}
    assert after == points, "what the backend had, it has, and once"
    code, said = runs("verify", str(workspace))
    assert code == is_lost, said  # what is lost stays lost, and nothing else does
    # Once more: nothing is left to do.
    assert "nothing was changed" in runs("salvage", str(workspace))[1]


def test_what_a_damaged_journal_lost_is_counted_by_every_command(finished: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    shutil.copytree(finished, workspace, symlinks=True)
    folder = workspace / "server" / "simulate_job"
    journal = Journal(folder / "journal.db", read_only=True)
    before = journal.counts()
    journal.close()
    halve(folder / "journal.db")
    code, said = runs("salvage", str(workspace))
    assert code == 0, said
    journal = Journal(folder / "journal.db")
    ledger = Ledger(folder / "delivery.db", journal)
    lost = {gap.site: 0 for gap in ledger.gaps(journal)}
    for gap in ledger.gaps(journal):
        assert gap.count is not None
        lost[gap.site] += gap.count
    stored = dict.fromkeys(before, 0)
    after = 0
    while batches := journal.read(after):
        for batch in batches:
            stored[batch.site] += sum(1 for _ in batch.events())
        after = batches[-1].id
    ledger.close()
    journal.close()
    assert lost
    assert {site: stored[site] + lost.get(site, 0) for site in before} == before
    shown = runs("show", str(workspace), "--json")[1]
    for site, count in lost.items():
        if count:
            assert f'"{site}"' in shown
    assert '"events_complete": false' in shown


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 500, b'{"run_id": 5}'])
@pytest.mark.parametrize("file", ["run_summary.json", "run.json", "run_progress.json", "rounds.msgpack"])
def test_a_damaged_file_beside_the_journal_stops_no_command_with_a_traceback(
    finished: Path, tmp_path: Path, file: str, content: bytes
) -> None:
    workspace = tmp_path / "ws"
    shutil.copytree(finished, workspace, symlinks=True)
    path = workspace / "server" / "simulate_job" / file
    path.write_bytes(content)
    for command in COMMANDS:
        _, said = runs(command, str(workspace))
        assert said.strip(), command
        assert "its server died" not in said, said
