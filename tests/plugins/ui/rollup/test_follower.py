"""The follower: a journal becomes a view file, once, across restarts, kills and replaced journals."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec
import pytest

from fedtrack.runs import StoredRun
from fedtrack.tracking.records import Image, Metric, Param, Rejected, Text
from fedtrack_ui.rollup import reading
from fedtrack_ui.rollup.follower import ITEMS_OF_A_NAME, Follower
from fedtrack_ui.rollup.view_file import ViewFile
from support.journaled import START_NS, JournaledRun, journaled


def followed(run: JournaledRun) -> ViewFile:
    """Read everything that is new in a run's journal and return its view file."""
    view = ViewFile(run.folder / "view.db")
    follower = Follower(StoredRun(run.base), view)
    while follower.step():
        pass
    return view


def dump(view: ViewFile) -> list[str]:
    return sorted(view.database.iterdump())


def test_values_of_a_round_and_of_a_stream(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log_values("site-1", "loss", [3.0, 2.0, 1.0], 0)
        run.log_values("site-1", "loss", [0.5], 1, step=3)
        run.log_values("server", "accuracy", [0.9])
        view = followed(run)
    assert {n: cell.last for n, cell in reading.cells(view.database, "loss")["site-1"].items()} == {0: 1.0, 1: 0.5}
    assert [one.first for one in reading.buckets(view.database, "site-1", "loss")] == [3.0, 2.0, 1.0, 0.5]
    loss = next(one for one in reading.metrics(view.database) if one.key == "loss")
    assert (loss.sites, loss.points, loss.rounds, loss.streamed, loss.on_server) == (1, 4, True, True, False)
    assert reading.events(view.database) == 5
    view.close()


def test_a_file_made_in_pieces_equals_one_made_at_once(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        for round_ in range(5):
            for site in ("site-1", "site-2"):
                run.log_values(site, "loss", [float(i) for i in range(400)], round_, step=400 * round_)
            followed(run).close()
        pieces = followed(run)
        found = dump(pieces)
        pieces.close()
        (run.folder / "view.db").unlink()
        whole = followed(run)
        assert dump(whole) == found
        whole.close()


def test_a_killed_follower_neither_skips_nor_repeats(tmp_path: Path) -> None:
    """It is killed with everything written and nothing committed."""
    with journaled(tmp_path) as run:
        run.log_values("site-1", "loss", [1.0, 2.0], 0)
        followed(run).close()
        run.log_values("site-1", "loss", [3.0], 0, step=2)
        child = os.fork()
        if child == 0:
            view = ViewFile(run.folder / "view.db")
            view.database.create_function("die", 0, lambda: os._exit(9))
            view.database.execute("CREATE TEMP TRIGGER t AFTER UPDATE ON cursor BEGIN SELECT die(); END")
            view.database.execute("CREATE TEMP TRIGGER u AFTER INSERT ON cursor BEGIN SELECT die(); END")
            Follower(StoredRun(run.base), view).step()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        view = followed(run)
        assert [one.n for one in reading.buckets(view.database, "site-1", "loss")] == [1, 1, 1]
        assert reading.events(view.database) == 3
        view.close()


def test_another_journal_makes_another_view(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log_values("site-1", "old", [1.0], 0)
        followed(run).close()
    for path in run.folder.glob("journal.db*"):
        path.unlink()
    run.folder.rename(tmp_path / "aside")
    with journaled(tmp_path) as other:
        (tmp_path / "aside" / "view.db").rename(other.folder / "view.db")
        other.log_values("site-1", "new", [1.0], 0)
        view = followed(other)
        assert [one.key for one in reading.metrics(view.database)] == ["new"]
        view.close()


def test_a_failed_commit_is_tried_again_from_the_same_place(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log_values("site-1", "loss", [1.0, 2.0], 0)
        view = ViewFile(run.folder / "view.db")
        follower = Follower(StoredRun(run.base), view)
        view.database.execute("CREATE TEMP TRIGGER t BEFORE INSERT ON cursor BEGIN SELECT raise(ABORT, 'no room'); END")
        with pytest.raises(sqlite3.Error, match="no room"):
            follower.step()
        view.database.execute("DROP TRIGGER t")
        follower.step()
        assert [one.first for one in reading.buckets(view.database, "site-1", "loss")] == [1.0, 2.0]
        view.close()


def test_what_is_no_metric(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log(
            "site-1",
            [
                Param(START_NS, "lr", 0.1),
                Param(START_NS, "lr", 0.2),
                Rejected(START_NS, "auc", "a text"),
                Rejected(START_NS, "auc", "another text"),
                Text(START_NS, "note", "hello"),
            ],
        )
        run.log("site-1", [Image(START_NS, "x", bytes([i]), i) for i in range(ITEMS_OF_A_NAME + 5)], 2)
        view = followed(run)
        assert reading.params(view.database) == {"lr": {"site-1": 0.2}}
        assert reading.problems(view.database) == [
            ("site-1", "rejected", 2, "auc", "another text"),
        ]
        images = [one for one in reading.items(view.database) if one["kind"] == "image"]
        assert [one["step"] for one in images] == list(range(ITEMS_OF_A_NAME + 4, 4, -1))
        assert {one["round"] for one in images} == {2}
        view.close()


def test_events_that_stay_at_a_site_are_read_from_its_own_journal(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log_values("site-1", "loss", [1.0], 0)
        own = JournaledRun(tmp_path / "elsewhere")
        own.log_values("site-2", "secret", [2.0], 0)
        own.log_values("site-1", "loss", [1.0], 0)
        own.journal.close()
        run.end(sites=["site-1", "site-2"])
        for site in ("site-1", "site-2"):
            (tmp_path / site / "simulate_job").mkdir(parents=True)
        (own.folder / "journal.db").rename(tmp_path / "site-2" / "simulate_job" / "journal.db")
        path = run.folder / "run_summary.json"
        summary = msgspec.json.decode(path.read_bytes())
        summary["sites"]["site-2"]["streams_to_server"] = False
        path.write_bytes(msgspec.json.encode(summary))
        view = followed(run)
        assert [one.key for one in reading.metrics(view.database)] == ["loss", "secret"]
        view.close()


def test_metrics_of_one_batch_with_many_names(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log("site-1", [Metric(START_NS, f"k{i}", float(i), 0) for i in range(300)], 0)
        view = followed(run)
        assert len(reading.metrics(view.database)) == 300
        view.close()
