"""connect: what it needs, what it refuses, and which writer logs to which run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fedtrack
from fedtrack.connection import connected_run
from fedtrack.connection.connected_run import ConnectedRun
from fedtrack.connection.run_folder import RunFolder
from fedtrack.errors import ConfigError
from fedtrack.spool.spool import MIN_LIMIT_BYTES
from fedtrack.tracking.writer import Writer
from support.spooled import logged_metrics


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("URL", "SITE", "RUN", "TOKEN"):
        monkeypatch.delenv(f"FEDTRACK_{name}", raising=False)
    monkeypatch.setenv("FEDTRACK_OUTBOX", str(tmp_path / "outbox"))
    monkeypatch.setattr(connected_run, "start", lambda box: None)  # nothing here is sent


@pytest.fixture
def run(tmp_path: Path) -> Iterator[ConnectedRun]:
    with fedtrack.connect(tmp_path / "collector", site="hospital-a", run="study-7") as found:
        yield found


def logged(spool: Path) -> list[tuple[str, int | None, int | None]]:
    """Return key, step and round of each metric in a spool."""
    return [(key, step, round_) for key, _, step, round_ in logged_metrics(spool)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no site; give site=, or set FEDTRACK_SITE"),
        ({"site": "a"}, "no run; give run=, or set FEDTRACK_RUN"),
        ({"site": "a", "run": "r"}, "no target"),
        ({"site": "a", "run": "r", "target": "https://c"}, "no token; give token=, or set FEDTRACK_TOKEN"),
        ({"site": "a", "run": "r", "target": "http://c", "token": "t"}, "without encryption"),
        ({"site": "a", "run": "r", "target": "ftp://c", "token": "t"}, "not valid"),
        ({"site": "a/b", "run": "r", "target": "x"}, "'a/b'"),
        ({"site": "server", "run": "r", "target": "x"}, "'server'"),
        ({"site": "a", "run": "../r", "target": "x"}, r"'\.\./r'"),
        ({"site": "", "run": "r", "target": "x"}, "no site"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        fedtrack.connect(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_the_delivery(run: ConnectedRun, tmp_path: Path) -> None:
    run.log({"loss": 0.5}, step=1)
    run.round(3)
    run.log({"loss": 0.25, "accuracy": 0.9}, step=2)
    found = run.finish()
    assert found == (True, 0, "", RunFolder(tmp_path / "collector", "study-7").spool("hospital-a"), 0)
    assert logged(found.folder) == [("loss", 1, None), ("loss", 2, 3), ("accuracy", 2, 3)]


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"URL": str(tmp_path / "c"), "SITE": "hospital-a", "RUN": "study-7"}.items():
        monkeypatch.setenv(f"FEDTRACK_{name}", value)
    with fedtrack.connect() as run:
        run.log({"loss": 1.0})
    assert len(logged(run.spool)) == 1


def test_a_writer_belongs_to_the_run_in_whose_context_it_was_made(tmp_path: Path) -> None:
    first = fedtrack.connect(tmp_path / "c", site="hospital-a", run="study-7")
    second = fedtrack.connect(tmp_path / "c", site="hospital-b", run="study-7")
    writers = {"second": Writer()}
    with first.bound():
        writers["first"] = Writer()
    writers["again"] = Writer()
    for number, name in enumerate(("first", "second", "again")):
        writers[name].record_metric(name, 1.0, number)
    second.finish()
    first.finish()
    assert [key for key, _, _ in logged(first.spool)] == ["first"]
    assert sorted(key for key, _, _ in logged(second.spool)) == ["again", "second"]


def test_a_thread_that_is_bound_to_no_run_may_not_log(run: ConnectedRun) -> None:
    found: list[Exception] = []

    def work() -> None:
        try:
            Writer()
        except ConfigError as error:
            found.append(error)
        with run.bound():
            Writer().record_metric("late", 1.0, 1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "in this thread" in str(found[0])
    run.finish()
    assert [key for key, _, _ in logged(run.spool)] == ["late"]


def test_a_finished_run_gives_the_same_answer_and_lets_no_writer_in(run: ConnectedRun) -> None:
    run.log({"loss": 1.0})
    assert run.finish() == run.finish()
    with pytest.raises(ConfigError):
        Writer()


def test_a_collector_that_does_not_answer_keeps_no_training_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fedtrack.connect("http://127.0.0.1:9", site="hospital-a", run="study-7", token="ft_1_x")  # noqa: S106
    for step in range(7):
        run.log({"loss": 1.0}, step=step)
    found = run.finish(timeout=0.1)
    assert (found.complete, found.left) == (False, 7)
    said = capsys.readouterr().err
    assert "hospital-a: 7 events are not confirmed" in said
    assert str(found.folder) in said
    assert "ft_1_x" not in said


def test_two_connections_of_a_site_share_a_run(tmp_path: Path) -> None:
    first = fedtrack.connect(tmp_path / "c", site="hospital-a", run="study-7")
    first.finish()
    second = fedtrack.connect(tmp_path / "c", site="hospital-a", run="study-7")
    second.finish()
    assert first.spool == second.spool
    assert RunFolder(tmp_path / "c", "study-7").record is not None


def test_dropped_calls_never_count_as_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fedtrack.connect(tmp_path / "c", site="hospital-a", run="study-7", spool_limit=MIN_LIMIT_BYTES)
    calls = 10_000
    for step in range(calls):
        run.log({"loss": 1.0}, step=step)
    found = run.finish()
    stored = len(logged(found.folder))
    assert (found.complete, found.dropped) == (False, calls - stored)
    assert 0 < stored < calls
    assert f"hospital-a: {found.dropped:,} log calls found no room" in capsys.readouterr().err
