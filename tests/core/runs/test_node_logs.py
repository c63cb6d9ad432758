"""Node logs: each line once, whatever happens to the file, and only files of the run itself."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.runs.node_logs import FollowedLog, last_lines, log_files
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.workspace import RunRecord, Workspace


def test_each_line_is_returned_once_and_a_half_one_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    log = FollowedLog(path)
    assert list(log.new_lines()) == []
    with path.open("w") as file:
        for text, expected in (("a\nb\nc", ["a", "b"]), ("", []), ("d\r\n\n", ["cd", ""]), ("e", [])):
            file.write(text)
            file.flush()
            assert list(log.new_lines()) == expected
    assert list(log.new_lines(ended=True)) == ["e"]
    assert list(log.new_lines(ended=True)) == []


@pytest.mark.parametrize("how", ["cut", "replaced"])
def test_a_file_that_begins_again_is_read_from_its_beginning(tmp_path: Path, how: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text("one\ntwo\nhalf")
    log = FollowedLog(path)
    assert list(log.new_lines()) == ["one", "two"]
    if how == "replaced":
        (tmp_path / "new").write_text("new\n" * 9)
        (tmp_path / "new").replace(path)
        assert list(log.new_lines()) == ["half", *["new"] * 9]
    else:
        path.write_text("new\n")
        assert list(log.new_lines()) == ["half", "new"]


def test_a_line_without_an_end_needs_no_memory_for_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"\xff" + b"x" * 1_000_000)
    parts = list(FollowedLog(path).new_lines(ended=True))
    assert "".join(parts) == "\ufffd" + "x" * 1_000_000
    assert max(map(len, parts)) <= 2 * 64 * 1024


def test_the_last_lines_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("a\nb\nc\n")
    for most, expected in ((2, ["b", "c"]), (0, []), (None, ["a", "b", "c"])):
        assert list(last_lines(FollowedLog(path), most, ended=True)) == expected


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_of_the_run_is_neither_followed_nor_waited_for(tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text("secret\n")
    path = tmp_path / "log.txt"
    path.symlink_to(tmp_path / "secret") if kind == "link" else os.mkfifo(path)
    assert list(FollowedLog(path).new_lines(ended=True)) == []


def test_the_logs_are_those_of_the_node_and_of_its_process(tmp_path: Path) -> None:
    with closing(Workspace(tmp_path)) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5, number=1), ["a", "b"])
        for path in ("server/simulate_job/deliverer_log.txt", "a/simulate_job/log.txt", "submissions/r1.log"):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).touch()
        run = StoredRun(tmp_path)
        assert [path.name for path in log_files(run, "server")] == ["r1.log", "deliverer_log.txt"]
        assert [path.name for path in log_files(run, "a")] == ["log.txt"]
        assert log_files(run, "b") == []
        with pytest.raises(ConfigError, match=r"no site '\.\./a'; it has: server, a, b"):
            log_files(run, "../a")


def test_sites_that_share_processes_have_the_logs_of_these(tmp_path: Path) -> None:
    with closing(Workspace(tmp_path)) as workspace:
        workspace.create(RunRecord("r1", "job/j", 5), ["a"])
        worker = workspace.workers / "worker-1"
        worker.mkdir(parents=True)
        (worker / "log.txt").touch()
        assert log_files(StoredRun(tmp_path), "a") == [worker / "log.txt"]
