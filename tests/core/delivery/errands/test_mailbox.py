"""Mailbox: a request reaches the process that delivers once, and nothing is left of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fedtrack.delivery.errands.mailbox import Mailbox
from fedtrack.delivery.errands.messages import Answer, Drop, Errand, Prune, Replay, Retry
from support.delivering import until

ERRANDS = [Replay(("csv", {"folder": "here", "n": 3}), again=True, patience=2.5), Retry("own"), Drop("own"), Prune(0.5)]


@pytest.mark.parametrize("errand", ERRANDS)
def test_a_request_is_answered_and_nothing_is_left(tmp_path: Path, errand: Errand) -> None:
    seen = []

    def serve() -> None:
        until(lambda: bool(Mailbox(tmp_path).asked()), 10)
        ((id_, found),) = Mailbox(tmp_path).asked()
        seen.append(found)
        Mailbox(tmp_path).answer(id_, Answer(count=7))

    thread = threading.Thread(target=serve)
    thread.start()
    answer = Mailbox(tmp_path).ask(errand, lambda: True)
    thread.join()
    assert (seen, answer) == ([errand], Answer(count=7))
    assert list((tmp_path / "errands").iterdir()) == []


def test_who_asks_a_process_that_ends_hears_that_and_leaves_nothing(tmp_path: Path) -> None:
    alive = iter((True, True, False))
    assert Mailbox(tmp_path).ask(Drop("own"), lambda: next(alive)) is None
    assert list((tmp_path / "errands").iterdir()) == []


def test_a_withdrawn_request_gets_no_answer(tmp_path: Path) -> None:
    (tmp_path / "errands").mkdir()
    Mailbox(tmp_path).answer("gone", Answer())
    assert list((tmp_path / "errands").iterdir()) == []


def test_a_request_of_another_version_is_named_as_unknown(tmp_path: Path) -> None:
    (tmp_path / "errands").mkdir()
    (tmp_path / "errands" / "a.asked").write_text('{"type": "dance"}')
    assert Mailbox(tmp_path).asked() == [("a", None)]
    Mailbox(tmp_path).clear()
    assert Mailbox(tmp_path).asked() == []
