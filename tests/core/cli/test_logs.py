"""``fedtrack runs logs``: prints and follows, and nothing in a log controls the terminal."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from typer.testing import CliRunner, Result

from fedtrack.cli.app import build_app
from fedtrack.runs.workspace import RunRecord, Workspace


def fedtrack(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), ["runs", "logs", *arguments])


def test_a_log_is_printed_so_that_it_controls_nothing(tmp_path: Path) -> None:
    with closing(Workspace(tmp_path)) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5), ["a", "b"])
        path = workspace.site("a") / "log.txt"
        path.write_text("first\nclear \x1b[2J \x9b2J turn \u202e around\n", encoding="utf-8")
        done = fedtrack(str(tmp_path), "--site", "a", "-n", "1")
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines() == [
            f"==> {path} <==",
            r"clear \x1b[2J \x9b2J turn \u202e around",
        ]
        assert "has no log of 'b' here" in str(fedtrack(str(tmp_path), "-s", "b").exception)
        assert "has no site 'c'" in str(fedtrack(str(tmp_path), "-s", "c").exception)


def test_following_prints_all_until_the_run_is_over(tmp_path: Path) -> None:
    with closing(Workspace(tmp_path)) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5), ["a"])
        done: list[Result] = []
        thread = threading.Thread(target=lambda: done.append(fedtrack(str(tmp_path), "-s", "a", "-f")))
        thread.start()
        sleep(0.3)
        assert thread.is_alive()  # the site has not begun to write, and the run goes on
        (workspace.site("a") / "log.txt").write_text("one\ntwo\nend without a line's end")
        since = monotonic()
    thread.join(30)
    assert monotonic() - since < 20
    assert done[0].exit_code == 0, done[0].output
    assert done[0].stdout.splitlines()[1:] == ["one", "two", "end without a line's end"]
