"""``fedtrack runs watch``: lines where nobody sees a table, a table where somebody does, and an end with the run."""

from __future__ import annotations

import io
import threading
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest
from typer.testing import CliRunner, Result

from fedtrack.cli.app import build_app
from fedtrack.cli.watch import state_line, table_of
from fedtrack.delivery.report import ReceiverTally
from fedtrack.engine import RunState
from fedtrack.journal.journal import Journal
from fedtrack.runs.live_run import Progress
from fedtrack.runs.run_state import RunView
from fedtrack.runs.tally import SiteTally, Tally
from fedtrack.runs.watched_run import Sight
from fedtrack.runs.workspace import RunRecord, Workspace
from fedtrack.terminal import Terminal

HOSTILE = "[red]site \x1b[2J \u202e"


def sight(sites: int = 2, *, pid: int | None = 7) -> Sight:
    names = [f"site-{n}" for n in range(1, sites + 1)]
    progress = Progress("j", 2, 8, sites, sites - 1, ["site-2"], {HOSTILE: f"{HOSTILE}: died"})
    view = RunView(RunState.RUNNING if pid else RunState.FAILED, "round 2 (of 8)", "j", progress, 64, pid)
    tallies = {name: SiteTally(None, 1234) for name in [*names, HOSTILE]}
    receivers = {"board": ReceiverTally("tensorboard", "server", 60, pending=4, addressed=64, id="board")}
    values = {"site-1": {"a": 1.0, "b": 0.25, "c": 3.0, "loss": 0.123456}}
    return Sight(view, Tally(tallies, receivers, []), values | {"server": {"acc": 0.5, "sites/site-1/bytes": 9.0}})


def printed(found: Sight) -> str:
    screen = io.StringIO()
    Terminal(screen, width=120, force_terminal=False).print(table_of(found))
    return screen.getvalue()


def test_the_table_shows_sites_values_and_deliveries_and_controls_nothing() -> None:
    text = printed(sight())
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert [r"[red]site \x1b[2J \u202e", "failed", "", "1,234"] in rows
    assert ["site-1", "up", "loss 0.1235, c 3, b 0.25", "1,234"] in rows
    assert ["server", "", "acc 0.5", "?"] in rows
    assert ["site-2", "waited for", "", "1,234"] in rows
    assert ["board", "60", "0", "0", "4", "64"] in rows
    assert text.splitlines()[0].startswith("running: round 2 (of 8)")
    assert not {"\x1b", "\u202e"} & set(text)


def test_of_many_sites_those_with_trouble_are_shown() -> None:
    text = printed(sight(1_000))
    assert "failed" in text
    assert "waited for" in text
    assert "and 982 more" in text
    assert len(text.splitlines()) < 40


def test_the_line_has_the_state_and_what_each_receiver_has() -> None:
    assert state_line(sight()) == "running: round 2 (of 8); board has 60 of 64"
    assert state_line(sight(pid=None)) == "failed: round 2 (of 8); 64 events in the journal; board has 60 of 64"
    assert state_line(sight()._replace(tally=None)) == "running: round 2 (of 8)"


def test_piped_it_prints_each_change_once_and_ends_with_the_run(tmp_path: Path) -> None:
    done: list[Result] = []
    command = ["runs", "watch", str(tmp_path), "--interval", "0.1"]
    with closing(Workspace(tmp_path)) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5), ["a"])
        Journal(workspace.server / "journal.db").close()
        assert workspace.live is not None
        workspace.live.tell(Progress("j", 1, 8, 2, 1, failed={"a": "a: \x1b[2J died"}))
        thread = threading.Thread(target=lambda: done.append(CliRunner().invoke(build_app(), command)))
        thread.start()
        sleep(0.5)
        assert thread.is_alive()
    thread.join(30)
    assert done[0].exit_code == 0, done[0].output
    first, second, *last = done[0].stdout.splitlines()
    assert first == r"failed: a: \x1b[2J died"
    assert second.startswith("running: round 1 (of 8), 1 of 2 sites up, 0 events in the journal")
    assert [line.partition(":")[0] for line in last] == ["lost"]  # it left no summary


def test_the_time_between_two_looks_has_a_least_value(tmp_path: Path) -> None:
    assert CliRunner().invoke(build_app(), ["runs", "watch", str(tmp_path), "--interval", "0"]).exit_code == 2


@pytest.mark.parametrize("path", ["nowhere"])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, path: str) -> None:
    assert "holds no run" in str(CliRunner().invoke(build_app(), ["runs", "watch", str(tmp_path / path)]).exception)
