"""Errands: while a node delivers, what others ask is done by the process that has the lock, and hurts nothing."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedtrack.delivery.errands.mailbox import Mailbox
from fedtrack.delivery.errands.messages import Answer, Drop, Errand, Prune, Replay, Retry
from support.deliverers import Node
from support.delivering import until

#: Each starts real processes.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("misbehaving"), pytest.mark.timeout(300)]


@contextmanager
def live(tmp_path: Path, count: int = 20, **faults: Any) -> Iterator[Node]:
    """Yield a node that delivers, after a site has logged."""
    node = Node(tmp_path, **faults)
    node.host.start()
    node.log(count)
    try:
        yield node
    finally:
        node.host.close()


def ask(node: Node, errand: Errand) -> Answer:
    answer = Mailbox(node.folder).ask(errand, lambda: True)
    assert answer is not None
    return answer


def rows(node: Node, query: str) -> list[Any]:
    with closing(sqlite3.connect(node.folder / "delivery.db")) as database:
        return database.execute(query).fetchall()


def test_a_replay_revives_a_receiver_that_was_given_up(tmp_path: Path) -> None:
    with live(tmp_path, bad={"where": "open", "how": "abort", "times": 4}) as node:
        until(lambda: "in a row" in node.supervisor.report("bad").error, 60)
        assert node.got("bad") == []
        answer = ask(node, Replay())
        assert answer.error == ""
        assert answer.new["bad"] == 20
        assert {report.id: (report.delivered, report.pending) for report in answer.reports} == {
            "healthy": (20, 0),
            "bad": (20, 0),
        }
        assert answer.journaled == {"site-1": 20}
        node.log(5)  # the run goes on
        reports = node.finish()
        assert node.got("bad") == node.got("healthy") == [float(value) for value in range(25)]
        assert (reports["bad"].delivered, reports["bad"].error) == (25, "")


def test_a_replay_from_the_first_event_opens_the_receiver_again(tmp_path: Path) -> None:
    with live(tmp_path) as node:
        assert ask(node, Replay()).new["healthy"] in range(21)
        Path(node.folder / "healthy").unlink()  # a backend that has lost everything
        answer = ask(node, Replay(again=True))
        assert (answer.error, answer.new) == ("", {"healthy": 20})
        assert node.got("healthy") == [float(value) for value in range(20)]
        node.log(5)
        assert node.finish()["healthy"].delivered == 25
        assert node.got("healthy") == [float(value) for value in range(25)]


def test_another_receiver_gets_what_there_is_and_is_closed_again(tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    with live(tmp_path) as node:
        ask(node, Replay())
        for expected in (20, 0):
            answer = ask(node, Replay(("lines", {"file": other})))
            assert (answer.error, list(answer.new.values())) == ("", [expected])
        assert len(Path(other).read_text().splitlines()) == 20
        assert list(node.finish()) == ["healthy"]  # the run's own receivers are those of the job


def test_dead_letters_are_tried_again_or_dropped(tmp_path: Path) -> None:
    once = {"where": "receive", "how": "raise", "poison": [7.0], "times": 9}
    with live(tmp_path, once=once, always={"where": "receive", "how": "raise", "poison": [7.0]}) as node:
        until(lambda: len(rows(node, "SELECT 1 FROM dead")) == 2, 60)
        before = node.calls("once")
        answer = ask(node, Retry("once", patience=10.0))
        while answer.refused and node.calls("once") > before:  # each attempt is one call of the fault's
            before = node.calls("once")
            answer = ask(node, Retry("once", patience=10.0))
        assert (answer.error, answer.count, answer.refused) == ("", 1, 0)
        assert ask(node, Drop("always")).count == 1
        assert rows(node, "SELECT * FROM dead") == []
        assert rows(node, "SELECT receiver FROM dropped") == [("always",)]
        node.log(5)
        reports = node.finish()
        assert sorted(node.got("once")) == [float(value) for value in range(25)]
        assert {id_: (report.delivered, report.dead, report.pending) for id_, report in reports.items()} == {
            "healthy": (25, 0, 0),
            "once": (25, 0, 0),
            "always": (24, 1, 0),
        }


def test_only_what_every_receiver_has_is_pruned(tmp_path: Path) -> None:
    with live(tmp_path, bad={"where": "open", "how": "hang", "times": 1}) as node:
        until(lambda: node.got("healthy") == [float(value) for value in range(20)], 60)
        assert ask(node, Prune(0.0)) == Answer(count=0)
    (tmp_path / "other").mkdir()
    with live(tmp_path / "other") as node:
        ask(node, Replay())
        assert ask(node, Prune(1.0)).count == 0
        assert ask(node, Prune(0.0)).count == 20
        node.log(5)
        report = node.finish()["healthy"]
        assert (report.delivered, report.pending, report.addressed) == (25, 0, 25)


def test_a_receiver_that_hangs_is_not_touched(tmp_path: Path) -> None:
    with live(tmp_path, bad={"where": "receive", "how": "hang", "times": 1}) as node:
        until(lambda: node.calls("bad") == 1, 60)
        answer = ask(node, Replay(again=True, patience=2.0))
        assert "bad could not be closed: it has not returned from receive" in answer.error
        assert ask(node, Retry("nobody")).error.startswith("The job does not name a receiver 'nobody'")


def test_the_end_of_the_run_comes_before_an_errand(tmp_path: Path) -> None:
    node = Node(tmp_path, bad={"where": "open", "how": "raise"})
    node.host.start()
    node.log(20)
    mailbox, ended = Mailbox(node.folder), threading.Event()
    answers: list[Answer | None] = []
    asker = threading.Thread(
        target=lambda: answers.append(mailbox.ask(Replay(patience=60.0), lambda: not ended.is_set()))
    )
    asker.start()
    until(lambda: bool(mailbox.asked()), 10)
    time.sleep(0.5)
    started = time.monotonic()
    reports = node.finish(1.0)
    ended.set()
    asker.join()
    assert time.monotonic() - started < 30
    assert answers == [None]
    assert reports["healthy"].delivered == 20
