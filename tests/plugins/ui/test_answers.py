"""The four answers, in words, about runs with one trouble each."""

from __future__ import annotations

from typing import Any

import pytest

from fedtrack.delivery import ReceiverTally
from fedtrack.runs import SiteTally, Tally
from fedtrack_ui import answers
from fedtrack_ui.across import Across, Grid, place_of
from fedtrack_ui.departure import departure
from fedtrack_ui.rollup.reading import Span
from fedtrack_ui.standing import standings
from fedtrack_ui.timeline import Round, Timeline, timed

SECOND = 10**9


def over(sites: Grid, server: list[float | None] | None = None, final: float | None = None) -> Across:
    count = len(next(iter(sites.values())))
    places = [place_of({site: values[at] for site, values in sites.items()}) for at in range(count)]
    return Across("round", list(range(count)), sites, places, server or [None] * count, final, [])


def times(seconds: dict[str, list[float | None]], length: float = 10.0) -> Timeline:
    """Rounds of one length in which each site is busy for so many seconds; None: it takes part and logs nothing."""
    count = len(next(iter(seconds.values())))
    rounds, spans = [], {site: dict[int, Span]() for site in seconds}
    for at in range(count):
        start = int(at * length * SECOND)
        for site, busy in seconds.items():
            if (took := busy[at]) is not None:
                spans[site][at] = Span(start, start + int(took * SECOND), 1)
        rounds.append(Round(start, start + int(length * SECOND), frozenset(seconds), True))
    return timed(rounds, spans, {}, shared=False)


EVEN = times({f"site-{i}": [9.0] * 8 for i in range(1, 7)})
SITES = [f"site-{i}" for i in range(1, 7)]


def healthy(**changed: list[float | None]) -> Grid:
    grid: Grid = {site: [0.5 + 0.05 * at + 0.002 * i for at in range(8)] for i, site in enumerate(SITES)}
    return grid | {site.replace("_", "-"): values for site, values in changed.items()}


def stands_out(grid: Grid, when: Timeline = EVEN, failed: dict[str, str] | None = None) -> answers.Answer:
    found = over(grid)
    by = standings(found, when, SITES, failed or {})
    return answers.standing_out(by, departure({"accuracy": found}))


@pytest.mark.parametrize(
    ("server", "final", "short", "detail"),
    [
        ([0.1, 0.5, 0.9], None, "accuracy 0.9000", "The best so far."),
        ([0.1, 0.9, 0.8], None, "accuracy 0.8000", "Best 0.9000 in round 1."),
        ([0.1, 0.9, 0.3], None, "accuracy 0.3000", "Best 0.9000 in round 1; fell by 0.6000 in round 2."),
        ([0.1, 0.9], 0.95, "accuracy 0.9500", "The best so far."),
        ([0.1, *[0.9] * 7], None, "accuracy 0.9000", "Best 0.9000 in round 1; flat for 5 rounds."),
        ([0.1 * i for i in range(7)], None, "accuracy 0.6000", "The best so far; +0.5000 in 5 rounds."),
        ([0.1, float("nan"), 0.5], None, "accuracy 0.5000", "The best so far."),
    ],
)
def test_is_it_learning(server: list[float | None], final: float | None, short: str, detail: str) -> None:
    found = answers.learning("accuracy", over({"site-1": [0.0] * len(server)}, server, final))
    assert (found.short, found.detail) == (short, detail)


def test_a_loss_that_rises_is_said_as_such() -> None:
    found = answers.learning("loss", over({"site-1": [3.0, 1.0, 2.5]})._replace(low=True))
    assert found.detail == "Best 1.000 in round 1; rose by 1.500 in round 2."


def test_a_healthy_run_names_nobody() -> None:
    same = healthy(site_1=[0.5 + 0.05 * at for at in range(8)])
    found = stands_out(same)
    assert found.short == "All take part"
    assert found.mood == ""
    assert "left the others" not in found.detail


def test_a_failed_and_a_silent_site_are_named() -> None:
    when = times({site: [9.0] * 8 for site in SITES} | {"site-2": [9.0] * 3 + [None] * 5})
    grid = healthy(site_2=[0.5, 0.55, 0.6] + [None] * 5)
    found = stands_out(grid, when, {"site-4": "it exited with status 9"})
    assert (found.short, found.mood) == ("site-4 failed, site-2 silent", "bad")


def test_a_laggard_is_said_with_its_distance() -> None:
    found = stands_out(healthy(site_3=[0.2 + 0.05 * at for at in range(8)]))
    assert found.detail.startswith("site-3 ")
    assert "site-3 is 0.30" in found.detail
    assert "below the median now" in found.detail


def test_one_odd_round_is_said_with_site_and_round_and_without_a_cause() -> None:
    grid = healthy()
    grid["site-5"] = list(grid["site-5"])
    grid["site-5"][3] = 0.01
    found = stands_out(grid)
    assert found.detail.startswith("site-5 left the others in round 3: accuracy 0.0100, median 0.65")
    assert (found.panel, found.metric, found.site) == ("matrix", "accuracy", "site-5")
    assert "because" not in found.detail


def test_sites_that_score_the_same_data_are_said_to() -> None:
    found = stands_out({site: [0.1 * at for at in range(8)] for site in SITES})
    assert found.detail == "All report the same values: they score the same data."


def tally(receiver: dict[str, Any] | None = None, **site: Any) -> Tally:
    counts = {"logged": 10, "journaled": 10, "in_spool": 0, "lost": 0} | site
    one = ReceiverTally("mlflow", "server", **({"delivered": 10, "id": "receiver"} | (receiver or {})))
    return Tally({"site-1": SiteTally(**counts)}, {"receiver": one})


@pytest.mark.parametrize(
    ("found", "short", "mood"),
    [
        (tally(), "Nothing lost", "ok"),
        (tally({"delivered": 4, "pending": 6}), "mlflow behind", "warn"),
        (tally({"delivered": 9, "dead": 1}), "mlflow refused some", "warn"),
        (tally(dropped=3), "3 lost", "bad"),
        (tally(lost=2), "2 lost", "bad"),
        (tally(logged=None), "Nothing known to be lost", ""),
        (tally(logged=0, journaled=0), "Nothing logged yet", ""),
        (tally(withheld=5), "Nothing lost", "ok"),
        (Tally(tally().sites, {}, [("site-1", "a segment is gone")]), "Something is lost", "bad"),
    ],
)
def test_is_anything_lost(found: Tally, short: str, mood: str) -> None:
    said = answers.losing(found)
    assert (said.short, said.mood) == (short, mood)


def test_what_is_on_its_way_is_no_trouble_while_the_run_goes_on() -> None:
    assert answers.losing(tally({"delivered": 4, "pending": 6}), running=True).short == "Nothing lost"


def test_where_time_goes() -> None:
    when = times({"site-1": [2.0] * 4, "site-2": [2.0] * 4, "site-3": [8.0] * 4})
    found = answers.time_spent(when)
    assert found.short == "60 % waiting"
    assert found.detail == "10 s a round. site-3 ends last in 4 of 4, 6.0 s after the next."
    assert answers.time_spent(when._replace(shared=True)).short == "10 s a round"
    assert answers.time_spent(timed([], {}, {}, shared=False)).short == "Not known yet"
