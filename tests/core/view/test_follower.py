"""ViewFollower: what it writes into a real journal, when, and once only, whatever is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.tracking.records import Direction, Metric
from fedtrack.view.follower import KEY, ViewFollower
from fedtrack.view.options import ViewOptions
from support.federation_journal import FederationJournal, across

SITES = ("a", "b", "c")


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[FederationJournal]:
    made = FederationJournal(tmp_path / "journal.db")
    yield made
    made.journal.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def follower(fed: FederationJournal, clock: Clock | None = None, **options: Any) -> ViewFollower:
    return ViewFollower(fed.journal, ViewOptions(**options), SITES, clock or Clock())


def play_round(fed: FederationJournal, number: int, sites: tuple[str, ...] = SITES) -> None:
    fed.ask(number, sites)
    ends = {site: fed.log(site, number, 7, loss=1.0 + index, noise=9.0) for index, site in enumerate(sites)}
    ends |= {site: fed.log(site, number, 8, loss=(number + 1) * 2.0**index) for index, site in enumerate(sites)}
    fed.answer(number, {site: {"acc": 0.1 * index} for index, site in enumerate(sites)}, ends=ends)
    fed.end(number)


def test_a_round_is_the_spread_of_the_sites_last_and_returned_values(fed: FederationJournal) -> None:
    play_round(fed, 0)
    one = follower(fed)
    one.step()
    found, loss = fed.view(), np.array([1.0, 2.0, 4.0])
    assert across(found, "loss", 0) == pytest.approx(
        {
            "mean": loss.mean(),
            "weighted_mean": loss.mean(),
            "min": 1.0,
            "p10": np.quantile(loss, 0.1),
            "p50": 2.0,
            "p90": np.quantile(loss, 0.9),
            "max": 4.0,
            "std": loss.std(),
            "weighted_std": loss.std(),
            "sites": 3.0,
        }
    )
    assert across(found, "acc", 0)["mean"] == pytest.approx(0.1)
    assert {record.n for record in fed.records() if isinstance(record, Metric) and "/loss/" in record.key} == {3}
    assert dict(fed.tags()) == {"across_sites/loss/worst_site": "c", "across_sites/acc/worst_site": "a"}
    assert not [key for key, _ in found if key.startswith("across_sites/round/seconds")]  # the server is no site


def test_the_time_and_the_bytes_of_each_site_are_those_of_the_servers_record(fed: FederationJournal) -> None:
    play_round(fed, 0)
    follower(fed).step()
    found = fed.view()
    assert found["sites/b/training_seconds", 0] == [1.5]
    assert found["sites/b/transfer_seconds", 0] == [1.5]  # three seconds away, half of them at work
    assert found["sites/a/waiting_seconds", 0] == [2.0]
    assert (found["round/bytes_to_sites", 0], found["round/bytes_from_sites", 0]) == ([300.0], [150.0])
    assert found["sites/c/steps", 0] == [1.0]


def test_weights_count_and_sites_that_failed_or_were_not_asked_missed_the_round(fed: FederationJournal) -> None:
    fed.ask(0, "ab")
    fed.answer(0, {"a": {"acc": 0.0}, "b": {"acc": 1.0}}, weights={"a": 3.0})
    fed.answer(1, {"a": {"acc": 0.0}, "b": {"acc": 1.0}, "c": {"acc": 9.0}}, errors={"c": "its disk is full"})
    fed.end(1)
    one = follower(fed)
    one.finish("completed")
    found = fed.view()
    assert across(found, "acc", 0)["weighted_mean"] == 0.25
    assert across(found, "acc", 0)["mean"] == 0.5
    assert across(found, "acc", 1)["max"] == 1.0
    assert (found["sites/c/rounds_missed", 0], found["sites/c/rounds_missed", 1]) == ([1.0], [2.0])
    assert found["sites/a/rounds_missed", 1] == [0.0]


def test_the_mean_of_a_sites_values_is_used_if_the_job_says_so(fed: FederationJournal) -> None:
    fed.ask(0, "ab")
    for value in (1.0, 2.0, 6.0):
        fed.log("a", 0, 0, loss=value)
    fed.log("b", 0, 0, loss=5.0)
    fed.answer(0, {"a": {}, "b": {}})
    fed.end(0)
    one = follower(fed, mode="mean")
    one.finish("completed")
    assert across(fed.view(), "loss", 0)["min"] == 3.0


def test_a_round_waits_for_what_its_sites_had_logged_when_they_answered(fed: FederationJournal) -> None:
    clock = Clock()
    one = follower(fed, clock, settle_seconds=5)
    fed.ask(0, "ab")
    fed.log("a", 0, 0, loss=1.0)
    fed.log("b", 0, 0, loss=2.0)
    fed.answer(0, {"a": {}, "b": {}}, ends={"a": 2, "b": 1})
    fed.end(0)
    one.step()
    assert fed.view() == {}
    fed.log("a", 0, 1, loss=3.0)
    one.step()
    assert across(fed.view(), "loss", 0)["max"] == 3.0


def test_after_the_time_limit_a_round_is_written_and_what_comes_later_is_counted_only(fed: FederationJournal) -> None:
    clock = Clock()
    one = follower(fed, clock, settle_seconds=5)
    fed.ask(0, "ab")
    fed.log("a", 0, 0, loss=1.0)
    fed.log("b", 0, 0, loss=2.0)
    fed.answer(0, {"a": {}, "b": {}}, ends={"a": 9, "b": 1})
    fed.end(0)
    one.step()
    clock.now = 4.9
    one.step()
    assert fed.view() == {}
    clock.now = 5.0
    one.step()
    before = fed.view()
    assert across(before, "loss", 0)["sites"] == 2
    fed.log("a", 0, 1, loss=3.0, other=1.0)
    one.finish("completed")
    assert (fed.view(), one.state.late) == (before, 2)


def test_an_answer_that_is_taken_back_before_the_average_is_in_no_spread(fed: FederationJournal) -> None:
    one = follower(fed)
    fed.ask(0, SITES)
    fed.answer(0, {site: {"acc": float(index)} for index, site in enumerate(SITES)})
    one.step()
    fed.answer(0, {"c": {"acc": 2.0}}, errors={"c": "NaN in its model"})
    fed.end(0)
    one.finish("completed")
    assert across(fed.view(), "acc", 0)["max"] == 1.0


def test_scores_outside_rounds_have_the_step_of_their_task(fed: FederationJournal) -> None:
    play_round(fed, 0)
    fed.ask(None, SITES, step=1)
    fed.answer(None, {site: {"acc": float(index)} for index, site in enumerate(SITES)}, step=1)
    fed.log("server", None, 1, acc=1.0)
    follower(fed).step()
    assert across(fed.view(), "acc", 1)["p50"] == 1.0


def test_without_a_server_that_asks_a_round_ends_when_every_site_is_in_a_later_one(fed: FederationJournal) -> None:
    clock = Clock()
    one = follower(fed, clock, patience_seconds=60)
    for site in "ab":
        fed.log(site, 0, 0, loss=1.0)
    one.step()
    fed.log("a", 1, 1, loss=5.0)
    one.step()
    assert fed.view() == {}
    fed.log("b", 1, 1, loss=6.0)
    one.step()
    assert across(fed.view(), "loss", 0)["sites"] == 2
    fed.log("a", 2, 2, loss=7.0)
    one.step()
    clock.now = 61  # b is silent
    one.step()
    assert across(fed.view(), "loss", 1)["mean"] == 5.5


def test_without_rounds_steps_are_compared_if_that_is_wanted(fed: FederationJournal) -> None:
    one = follower(fed, by_step=True)
    for step in range(4):
        for site in "ab":
            fed.log(site, None, step, loss=float(step))
    fed.log("a", None, 2, loss=9.0)
    one.step()
    assert [step for key, step in fed.view() if key == "across_sites/loss/mean"] == [0, 1, 2]
    one.finish("completed")
    found = fed.view()
    assert (found["across_sites/loss/mean", 3], found["across_sites/loss/max", 2]) == ([3.0], [9.0])
    assert all(len(values) == 1 for values in found.values())


def test_a_federation_of_one_site_and_a_metric_of_one_site_have_no_spread(fed: FederationJournal) -> None:
    fed.ask(0, "a")
    fed.log("a", 0, 0, loss=1.0)
    fed.answer(0, {"a": {"acc": 1.0}})
    fed.end(0)
    ViewFollower(fed.journal, ViewOptions(), ("a",), Clock()).finish("completed")
    assert not [key for key, _ in fed.view() if key.startswith("across_sites/")]


def test_scripts_say_which_values_are_better_and_names_only_where_nobody_does(fed: FederationJournal) -> None:
    fed.write("a", [Direction(1, "reward", "higher"), Direction(1, "my_loss", "higher")], 0)
    fed.ask(0, "ab")
    for site, value in (("a", 1.0), ("b", 2.0)):
        fed.log(site, 0, 0, reward=value, my_loss=value, temperature=value)
    fed.answer(0, {"a": {}, "b": {}})
    fed.end(0)
    follower(fed).finish("completed")
    assert dict(fed.tags()) == {"across_sites/reward/worst_site": "a", "across_sites/my_loss/worst_site": "a"}


@pytest.mark.parametrize("killed_at", range(0, 40, 3))
def test_a_view_that_is_killed_anywhere_neither_repeats_nor_skips(
    fed: FederationJournal, killed_at: int, tmp_path: Path
) -> None:
    other = FederationJournal(tmp_path / "whole.db")
    steps = 0
    one = follower(fed)
    for number in range(4):
        for write in _writes(number):
            write(fed)
            write(other)
            steps += 1
            if steps % (killed_at + 1) == 0:
                one = follower(fed)  # nothing of the one before is left but the journal
            one.step()
    one.finish("completed")
    whole = follower(other)
    whole.finish("completed")
    assert fed.view() == other.view()
    assert all(len(values) == 1 for values in fed.view().values())
    assert {step for key, step in fed.view() if key == "across_sites/loss/mean"} == {0, 1, 2, 3}
    other.journal.close()


def _writes(number: int) -> list[Callable[[FederationJournal], Any]]:
    ends = dict.fromkeys(SITES, number + 1)
    return [
        lambda fed: fed.ask(number, SITES),
        lambda fed: fed.log("a", number, number, loss=1.0),
        lambda fed: fed.log("b", number, number, loss=2.0),
        lambda fed: fed.answer(number, {site: {"acc": 0.5} for site in SITES}, ends=ends),
        lambda fed: fed.end(number),
        lambda fed: fed.log("c", number, number, loss=4.0),
        lambda fed: fed.ask(number + 1, SITES) if number < 3 else None,
    ]


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_that_fails_is_made_again_and_one_that_succeeded_is_not(
    fed: FederationJournal, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_round(fed, 0)
    real = Journal.apply_all
    died = False

    def apply_all(self: Journal, *args: Any, **kwargs: Any) -> Any:
        nonlocal died
        if KEY in (kwargs.get("meta") or {}) and not died:
            died = True
            if after:
                real(self, *args, **kwargs)
                raise KeyboardInterrupt  # stands for SIGKILL: nothing else of the follower runs
            raise WorkspaceError("the disk is full")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Journal, "apply_all", apply_all)
    one = follower(fed)
    if after:
        with pytest.raises(KeyboardInterrupt):
            one.step()
        one = follower(fed)
    else:
        one.step()
        assert fed.view() == {}
    one.finish("completed")
    assert across(fed.view(), "loss", 0)["sites"] == 3


def test_the_views_records_are_events_of_the_server_that_no_spool_lacks(fed: FederationJournal) -> None:
    play_round(fed, 0)
    one = follower(fed)
    one.start()
    one.finish("completed")
    (row,) = [row for row in fed.journal.streams() if row.stream == one.state.stream]
    assert (row.site, row.final, row.counted) == ("server", row.last, True)
    assert row.count == row.last == len(fed.records()) > 20
    assert fed.journal.unfinished("server") == []


def test_thousands_of_sites_cost_one_record_for_each_statistic(fed: FederationJournal) -> None:
    names = tuple(f"site-{number}" for number in range(2_000))
    fed.ask(0, names)
    fed.answer(0, {site: {"acc": float(index)} for index, site in enumerate(names)})
    fed.end(0)
    one = ViewFollower(fed.journal, ViewOptions(), names, Clock())
    one.finish("completed")
    found = fed.view()
    assert across(found, "acc", 0)["p10"] == np.quantile(np.arange(2000.0), 0.1)
    assert across(found, "round/training_seconds", 0)["p50"] == np.median([1 + index / 2 for index in range(2000)])
    assert not [key for key, _ in found if key.startswith("sites/")]
    assert len(fed.records()) < 70


def test_frames_are_decoded_once_for_each_metric_of_a_batch(
    fed: FederationJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedtrack.view import site_values

    decoded: list[int] = []
    real = site_values.decode
    monkeypatch.setattr(site_values, "decode", lambda payload: (decoded.append(1), real(payload))[1])
    fed.ask(0, "ab")
    for site in "ab":
        fed.write(site, [Metric(10**18 + step, "loss", float(step), step) for step in range(5000)], 0)
    fed.answer(0, {"a": {}, "b": {}})
    fed.end(0)
    one = follower(fed)
    reads: list[int] = []
    read = Journal.read
    monkeypatch.setattr(Journal, "read", lambda self, after, *more: (reads.append(after), read(self, after, *more))[1])
    one.finish("completed")
    assert len(decoded) == 2
    assert reads == sorted(set(reads))  # each batch is read once, and never the whole journal again
    assert across(fed.view(), "loss", 0)["mean"] == 4999.0


def test_a_collector_has_everything_of_a_server_that_only_computes(fed: FederationJournal) -> None:
    for step in range(3):
        for site in "ab":
            fed.log(site, None, step, loss=float(step))
    one = follower(fed, by_step=True)
    assert not fed.journal.goodbyes.has_everything_of("server")
    one.finish("completed")
    assert fed.journal.goodbyes.has_everything_of("server")
    fed.log("server", None, 0, loss=1.0)  # a process of that name that has not said goodbye yet
    assert not fed.journal.goodbyes.has_everything_of("server")
    assert not fed.journal.goodbyes.has_everything_of("a")
