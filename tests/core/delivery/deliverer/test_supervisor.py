"""Supervisor: whatever a receiver does to its process, the others get everything, and its own records are kept."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fedtrack.delivery.ledger import DeadLetter
from support.deliverers import Node
from support.delivering import until

#: Each starts real processes, several of them one after the other.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("misbehaving"), pytest.mark.timeout(300)]

COUNT = 50
ALL = [float(value) for value in range(COUNT)]


def run(tmp_path: Path, stall_seconds: float = 60.0, prepare: bool = False, **fault: Any) -> tuple[Node, Any, Any]:
    """Deliver numbers to a healthy receiver and one with a fault; return both reports."""
    node = Node(tmp_path, bad=fault)
    if prepare:
        node.supervisor.prepare({id_: node.receiver(id_) for id_ in node.faults})
    node.host.start()
    node.log(COUNT)
    reports = node.finish(stall_seconds)
    healthy, bad = reports["healthy"], reports["bad"]
    assert node.got("healthy") == ALL
    assert (healthy.delivered, healthy.pending, healthy.error) == (COUNT, 0, "")
    assert bad.addressed == COUNT == bad.delivered + bad.dead + bad.pending
    assert node.got("bad") == sorted(node.got("bad"))
    return node, healthy, bad


def letters(node: Node) -> list[DeadLetter]:
    host = node.make_host()
    try:
        return host.ledger.dead_letters("bad")
    finally:
        host.close()


@pytest.mark.parametrize(
    ("how", "name"), [("abort", "SIGABRT"), ("segfault", "SIGSEGV"), ("bus", "SIGBUS"), ("exit", "status 7")]
)
def test_a_record_that_ends_the_process_becomes_a_dead_letter_and_the_others_arrive(
    tmp_path: Path, how: str, name: str
) -> None:
    node, _, bad = run(tmp_path, where="receive", how=how, poison=[37.0])
    assert node.got("bad") == [value for value in ALL if value != 37.0]
    assert (bad.delivered, bad.dead, bad.pending) == (COUNT - 1, 1, 0)
    (letter,) = letters(node)
    assert letter.seq == 38
    assert name in letter.error


def test_two_poisonous_records_cost_two_records(tmp_path: Path) -> None:
    node, _, bad = run(tmp_path, where="receive", how="abort", poison=[3.0, 4.0])
    assert node.got("bad") == [value for value in ALL if value not in (3.0, 4.0)]
    assert (bad.dead, bad.pending) == (2, 0)


def test_a_crash_that_does_not_come_back_costs_nothing(tmp_path: Path) -> None:
    node, _, bad = run(tmp_path, where="receive", how="abort", times=2)
    assert node.calls("bad") == 3 or node.calls("bad") > 2
    assert node.got("bad") == ALL
    assert (bad.delivered, bad.dead, bad.error) == (COUNT, 0, "")


def test_sigkill_is_no_evidence_against_a_record(tmp_path: Path) -> None:
    node, _, bad = run(tmp_path, where="receive", how="kill", times=4)
    assert node.got("bad") == ALL
    assert (bad.delivered, bad.dead, bad.error) == (COUNT, 0, "")


@pytest.mark.parametrize("how", ["abort", "exit-0"])
@pytest.mark.parametrize("where", ["init", "prepare", "open", "flush", "results", "close", "receive"])
def test_a_receiver_that_always_ends_its_process_is_given_up_and_its_records_are_kept(
    tmp_path: Path, where: str, how: str
) -> None:
    node, _, bad = run(tmp_path, prepare=where == "prepare", where=where, how=how)
    if where == "prepare":  # only the import was harmed
        assert (node.calls("bad"), node.got("bad"), bad.error) == (1, ALL, "")
        return
    method = "__init__" if where == "init" else where
    assert f"its process was ended in {method}() by" in bad.error
    assert ("SIGABRT" if how == "abort" else "an exit with status 0") in bad.error
    assert bad.dead == 0
    assert bad.pending == (0 if where == "close" else COUNT)
    assert node.calls("bad") <= 20


@pytest.mark.parametrize("how", ["sys-exit", "interrupt", "raise"])
@pytest.mark.parametrize("where", ["init", "open", "receive", "flush", "results", "close"])
def test_what_a_receiver_raises_is_no_death(
    tmp_path: Path, where: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    node, _, bad = run(tmp_path, stall_seconds=30.0 if where == "receive" else 3.0, where=where, how=how)
    assert {"sys-exit": "SystemExit: 5", "interrupt": "KeyboardInterrupt", "raise": "no luck"}[how] in (
        bad.error or letters(node)[0].error
    )
    log = node.folder / "deliverer_log.txt"
    assert re.search(r"Traceback \(most recent call last\):\n(?s:.*)lines_plugin\.py\", line \d+, in", log.read_text())
    assert any(record.getMessage().endswith(f"; traceback: {log}") for record in caplog.records)
    taken = {"init": 0, "open": 0, "receive": 0, "flush": 0, "results": COUNT, "close": COUNT}[where]
    assert (bad.delivered, bad.dead) == (taken, COUNT if where == "receive" else 0)


@pytest.mark.parametrize("how", ["hang", "spin"])
@pytest.mark.parametrize("where", ["open", "receive", "flush", "results", "close"])
def test_a_receiver_that_hangs_is_named_and_left_behind(tmp_path: Path, where: str, how: str) -> None:
    started = time.monotonic()
    _, _, bad = run(tmp_path, stall_seconds=2.0, where=where, how=how)
    assert time.monotonic() - started < 45
    assert where in bad.error or (where == "open" and "still being opened" in bad.error)
    assert bad.pending == (0 if where == "close" else COUNT)


@pytest.mark.parametrize("how", ["lock", "search"])
def test_a_call_that_holds_the_interpreters_lock_counts_as_a_death(tmp_path: Path, how: str) -> None:
    node, _, bad = run(tmp_path, where="receive", how=how, times=1)
    assert node.got("bad") == ALL
    assert (bad.delivered, bad.dead, bad.error) == (COUNT, 0, "")
    assert "Timeout (" in (node.folder / "deliverer_log.txt").read_text()  # and where it was


@pytest.mark.parametrize("where", ["open", "receive"])
@pytest.mark.parametrize("how", ["memory", "threads", "descriptors", "every-descriptor", "print", "folder", "handlers"])
def test_what_a_receiver_does_to_its_process_stays_there(
    tmp_path: Path, where: str, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node, _, bad = run(tmp_path, where=where, how=how, times=1)
    assert node.got("bad") == ALL
    assert (bad.delivered, bad.dead, bad.error) == (COUNT, 0, "")
    assert capfd.readouterr().out == ""
    if how == "print":
        log = (node.folder / "deliverer_log.txt").read_text()
        assert "junk of a receiver" in log
        assert "junk below Python" in log


@pytest.mark.parametrize("answer", ["text", "object", "numbers"])
def test_an_answer_that_is_no_result_costs_only_itself(tmp_path: Path, answer: str) -> None:
    _, healthy, bad = run(tmp_path, answer=answer)
    assert (bad.delivered, bad.pending, bad.location) == (COUNT, 0, "")
    assert bad.error.startswith("results() returned ")
    assert "valid are fedtrack.Results with strings, and None" in bad.error
    assert healthy.command == f"cat {tmp_path / 'run' / 'healthy'}"


def test_a_thread_that_ends_the_process_between_calls_harms_its_receiver_only(tmp_path: Path) -> None:
    _, _, bad = run(tmp_path, where="open", how="thread-aborts")
    assert bad.dead == 0


def test_a_deliverer_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.host.start()
    for _ in range(6):
        node.log(20)
        time.sleep(0.2)
        for worker in list(node.supervisor._workers):
            os.kill(worker.pid, signal.SIGKILL)
    reports = node.finish(60.0)
    assert node.got("healthy") == [float(value) for value in range(120)]
    assert (reports["healthy"].delivered, reports["healthy"].pending) == (120, 0)


def test_the_end_says_within_two_seconds_who_is_waited_for(tmp_path: Path) -> None:
    node = Node(tmp_path, bad={"where": "receive", "how": "hang"})
    node.host.start()
    node.log(COUNT)
    node.host.forwarder.stop()
    until(lambda: node.calls("bad") == 1, 60)
    until(lambda: node.got("healthy") == ALL, 60)
    assert node.host.waiting() == {}
    node.supervisor.drain("completed")
    until(lambda: node.host.waiting() == {"bad": f"receive, {COUNT} events"}, 10.0)  # 1 s, where nothing else runs
    started = time.monotonic()
    reports = node.finish(60.0, limit=1.0)
    assert time.monotonic() - started < 15.0
    assert (reports["healthy"].pending, reports["bad"].pending) == (0, COUNT)


def test_no_process_is_left(tmp_path: Path) -> None:
    node = Node(tmp_path, bad={"where": "close", "how": "hang"})
    node.host.start()
    until(lambda: len(node.supervisor._workers) == 1, 60)
    pid = node.supervisor._workers[0].pid
    node.log(1)
    node.finish(1.0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
