"""The server's control records: who was asked, what came back, and which values are good."""

from __future__ import annotations

import math
from pathlib import Path

from fedtrack.runs import StoredRun
from fedtrack.tracking.records import Direction, TaskRecord
from fedtrack_ui.across import across
from fedtrack_ui.rollup import reading
from fedtrack_ui.rollup.follower import Follower
from fedtrack_ui.rollup.view_file import ViewFile
from fedtrack_ui.timeline import timeline
from support.journaled import START_NS, journaled

SECOND = 10**9
NAN = math.nan
SITES = ("site-1", "site-2", "site-3")


def task(round_: int | None, **changed: object) -> TaskRecord:
    at = START_NS + (round_ or 0) * 10 * SECOND
    fields: dict[str, object] = {
        "task": "train",
        "round": round_,
        "step": round_,
        "sites": SITES,
        "asked_ns": (at,) * 3,
        "answered_ns": (at + 2 * SECOND, at + 8 * SECOND, 0),
        "sent": (100,) * 3,
        "received": (100, 100, 0),
        "weights": (1.0, 3.0, NAN),
        "seconds": (1.0, 7.0, NAN),
        "metrics": {"score": (0.5, 0.7, None)},
        "errors": {"site-3": "it exited with status 9"},
        "ends": {},
    }
    return TaskRecord(at, **(fields | changed))  # type: ignore[arg-type]


def test_asked_sites_their_times_and_what_they_returned(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        begun = task(0, answered_ns=(), sent=(), received=(), weights=(), seconds=(), metrics={}, errors={})
        run.log("server", [begun, task(0), task(1), task(None)])
        run.log("site-1", [task(7)])  # a site's own record of a task is none of the server's
        run.log_values("server", "round/seconds", [10.0], 0, 10)
        run.log_values("site-1", "score", [0.9], 0)
        view = ViewFile(run.folder / "view.db")
        Follower(StoredRun(run.base), view).step(60)
    found = across(view.database, "score")
    assert found.sites == {"site-1": [0.9, 0.5], "site-2": [0.7, 0.7]}, "what a site logs comes first"
    times = timeline(view.database, None, 3)
    assert times.rounds[0].sites == frozenset(SITES)
    assert times.seconds[0] == {"site-1": 2.0, "site-2": 8.0}
    assert (times.rounds[0].last, times.rounds[0].lead) == ("site-2", 6.0)
    assert times.waited() == 0.5
    assert reading.tasks(view.database)[0]["site-3"].error == "it exited with status 9"
    assert reading.events(view.database) == 2, "control records are no events"
    (score,) = [one for one in reading.metrics(view.database) if one.key == "score"]
    assert (score.sites, score.rounds) == (2, True)
    view.close()


def test_a_script_says_which_values_are_good(tmp_path: Path) -> None:
    with journaled(tmp_path) as run:
        run.log("site-1", [Direction(START_NS, "reward", "lower"), Direction(START_NS, "accuracy", "lower")])
        run.log("site-2", [Direction(START_NS, "reward", "higher"), Direction(START_NS, "odd", "sideways")])
        for key in ("reward", "accuracy", "odd", "loss"):
            run.log_values("site-1", key, [1.0], 0)
        view = ViewFile(run.folder / "view.db")
        Follower(StoredRun(run.base), view).step(60)
    found = {key: across(view.database, key) for key in ("reward", "accuracy", "odd", "loss")}
    assert [key for key, one in found.items() if one.low] == ["reward", "accuracy", "loss"]
    assert {key for key, one in found.items() if not one.is_directed} == {"odd"}
    view.close()
