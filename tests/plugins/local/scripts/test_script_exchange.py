"""ScriptExchange with real sites: whose answer counts, who is late, and what is said of a script that has ended."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import JobError
from fedtrack.runs import Goodbye, RunRecord, Workspace
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.roster import Roster
from fedtrack_local.scripts import script_exchange
from fedtrack_local.scripts.script_exchange import ScriptExchange
from fedtrack_local.workflows.workflow import Answer, Task
from support.site_processes import fork_server, pool, site_spec

__all__ = ["fork_server", "pool"]

CLIENT = """
import os, sys, time
import numpy as np
from pathlib import Path
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
first = flare.get_site_name() == "a"
while flare.is_running():
    model = flare.receive()
    Writer().record_metric("loss", 1.0, 0)
    DO
    flare.send(flare.FLModel(params={"w": model.params["w"] + 1}, metrics={"round": model.current_round}))
"""

TRAIN = Task("train", {"w": np.zeros(3, np.float32)}, 0, 2)


class Bench:
    """Two sites, ``a`` and ``b``, and the exchange with them; a site's folder is the name of its own."""

    def __init__(self, pool: SitePool, folder: Path, do: str, needed: int) -> None:
        self.pool = pool
        self.workspace = Workspace(folder)
        self.workspace.create(RunRecord("r", "job/j", 0), ["a", "b"])
        self.roster = Roster(["a", "b"], needed, (), lambda site, reason: None)
        self.ended: list[str] = []
        self.exchange = ScriptExchange(self.roster, 60.0, self.workspace, pool, self.ended.append)
        for name in ("a", "b"):
            own = self.workspace.site(name)
            exchange = str(self.workspace.exchange / name)
            pool.start(site_spec(own, CLIENT.replace("DO", do), name=name, exchange=exchange))

    def ask(self, task: Task = TRAIN) -> dict[str, Answer]:
        return {answer.site: answer for answer in self.exchange.ask(task, ["a", "b"])}


Make = Callable[..., Bench]


@pytest.fixture
def make(pool: SitePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(script_exchange, "_POLL_SECONDS", 0.02)
    benches: list[Bench] = []

    def make(do: str = "pass", needed: int = 1) -> Bench:
        benches.append(Bench(pool, tmp_path / "ws", do, needed))
        return benches[-1]

    yield make
    for bench in benches:
        bench.workspace.close()


def error_of(bench: Bench) -> str:
    assert list(bench.roster.failed) == ["a"]
    return str(bench.roster.failed["a"])


def test_answers_carry_the_model_and_no_file_is_left(make: Make) -> None:
    bench = make()
    for current_round in (0, 1):
        answers = bench.ask(Task("train", TRAIN.params, current_round, 2))
        assert {site: answer.model.metrics for site, answer in answers.items()} == {
            site: {"round": float(current_round)} for site in "ab"
        }
        assert all(answer.model.params["w"].tolist() == [1, 1, 1] for answer in answers.values() if answer.model.params)
        assert all(answer.size > 12 for answer in answers.values())
        assert bench.exchange.waiting == set()
        assert list(bench.workspace.exchange.rglob("*.safetensors")) == []
        # A rank above 0 may still ask for the last task, and only for that.
        assert list(bench.exchange._models._files) == [current_round + 1]


def test_who_has_left_has_said_how_much_it_logged(make: Make) -> None:
    bench = make()
    bench.ask()
    assert bench.exchange.goodbye("a") == Goodbye()  # it may still log
    bench.exchange.dismiss()
    assert sorted(bench.ended) == ["a", "b"]
    said = bench.exchange.goodbye("a")
    assert (said.stored, said.dropped, len(said.streams or ())) == (1, 0, 1)


@pytest.mark.parametrize(
    ("do", "message", "details"),
    [
        (
            "assert not first, 'bad data'",
            "a: the training script raised AssertionError: bad data (CLIENT) in task 'train'; its output is in",
            "Traceback",
        ),
        (
            "first and os.kill(os.getpid(), 9)",
            "a: the process was killed by SIGKILL in task 'train'; its output is",
            "printed",
        ),
        ("first and sys.exit()", "a: the training script ended without sending a result for task 'train'; its", ""),
        ("first and sys.exit('no data')", "a: the training script raised SystemExit: no data (CLIENT) in task", ""),
        ("first and os._exit(4)", "a: the training script exited with status 4 in task 'train'; its output", "printed"),
    ],
)
def test_the_end_of_a_script_is_explained(do: str, message: str, details: str, make: Make) -> None:
    bench = make(f"print('printed', flush=True)\n    {do}")
    assert list(bench.ask()) == ["b"]
    shown = re.sub(r"\(/\S+/client\.py:\d+\)", "(CLIENT)", error_of(bench))
    assert shown.startswith(message)
    assert details in bench.roster.failed["a"].details


def test_a_site_that_is_late_is_killed_and_the_error_says_what_to_raise(make: Make) -> None:
    bench = make("first and model.current_round == 3 and time.sleep(600)")
    bench.ask()
    assert list(bench.ask(Task("train", TRAIN.params, 3, 5, timeout=0.4))) == ["b"]
    expected = "a: did not answer the task 'train' of round 3 within 0.4 s (task_timeout); raise the limit if needed"
    assert error_of(bench) == expected


def test_a_site_that_logs_has_as_long_as_it_needs(make: Make) -> None:
    log = "[(Writer().record_metric('x', 1.0, 0), time.sleep(0.05)) for _ in range(16 if model.current_round else 0)]"
    bench = make(log, needed=2)
    bench.ask()
    bench.exchange._idle_timeout = 0.6
    assert sorted(bench.ask(Task("train", TRAIN.params, 1, 2))) == ["a", "b"]


def test_a_site_that_gives_no_sign_of_life_is_late(make: Make) -> None:
    bench = make("first and model.current_round and time.sleep(600)")
    bench.ask()
    bench.exchange._idle_timeout = 0.4
    assert list(bench.ask(Task("train", TRAIN.params, 1, 2))) == ["b"]
    assert "and logged nothing for 0.4 s (idle_timeout)" in error_of(bench)


def test_an_optional_task_that_is_answered_too_late_is_nobodys_answer(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make("while first and model.current_round == 0 and not Path('go').exists(): time.sleep(0.01)")
    with caplog.at_level(logging.WARNING):
        assert list(bench.ask(Task("train", TRAIN.params, 0, 2, timeout=1.0, optional=True))) == ["b"]
    assert "a: did not answer the task 'train' of round 0 within 1 s (its timeout)" in caplog.text
    assert bench.roster.failed == {}
    (bench.workspace.site("a") / "go").touch()
    answers = bench.ask(Task("train", TRAIN.params, 1, 2))
    assert {site: answer.model.metrics for site, answer in answers.items()} == {
        "a": {"round": 1.0},
        "b": {"round": 1.0},
    }


def test_a_result_that_cannot_be_read_is_that_sites_failure(make: Make) -> None:
    module = "__import__('fedtrack_local.scripts.site_backend', fromlist=['x'])"
    bench = make(f"first and exec(\"{module}.hand = lambda params, spare, memory: os.open('client.py', os.O_RDONLY)\")")
    assert list(bench.ask()) == ["b"]
    assert "has a header of" in error_of(bench)


def test_a_job_ends_when_too_few_are_left(make: Make) -> None:
    bench = make("assert not first", needed=2)
    with pytest.raises(JobError, match="1 of 2 sites are left, the job needs 2"):
        bench.ask()


def test_a_site_that_was_refused_is_ended_and_not_asked_again(make: Make) -> None:
    bench = make()
    bench.ask()
    bench.exchange.reject("a", RuntimeError("its tensor 'w' holds nan"))
    assert error_of(bench) == "a: its tensor 'w' holds nan"
    assert list(bench.ask()) == ["b"]
    bench.exchange.dismiss()
    assert sorted(bench.ended) == ["a", "b"]


def test_a_script_that_fails_after_its_last_task_is_warned_about(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    bench = make(
        "continue\nif first:\n    raise RuntimeError('at the end')\nwhile flare.is_running():\n    model = None"
    )
    with caplog.at_level(logging.WARNING):
        bench.exchange.dismiss()
    assert "a: its script raised RuntimeError: at the end (" in caplog.text
    assert "after its last task; its output is in" in caplog.text
    assert bench.roster.failed == {}


def test_a_site_that_was_killed_says_nothing(make: Make) -> None:
    bench = make("if not first:\n        os.kill(os.getpid(), 9)")
    assert list(bench.ask()) == ["a"]
    bench.exchange.dismiss()
    assert bench.exchange.goodbye("a").stored == 1
    assert bench.exchange.goodbye("b") == Goodbye()


HOSTILE = """
    from fedtrack.client import backend
    from fedtrack_local.processes.messages import SendResult, encode
    own = backend.current()
    channel, task = own._channel, own._task
    def say(file=None, task_id=task.task_id):
        channel.send_bytes(encode(SendResult(task_id, True, "FULL", {}, {})), file)
    if first:
        ACT
        time.sleep(600)
"""


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("say()", "did not come with the message"),
        ("os.mkfifo('p'); say(os.open('p', os.O_RDWR))", "no plain file"),
        ("say(os.open('/dev/zero', os.O_RDONLY))", "no plain file"),
        ("say(os.memfd_create('x'))", "neither sealed nor on the disk"),
    ],
    ids=["no file", "pipe", "device", "unsealed"],
)
def test_a_site_that_hands_over_no_model_is_refused_by_name_and_alone(make: Make, act: str, said: str) -> None:
    bench = make(HOSTILE.strip("\n").strip().replace("ACT", act))
    assert list(bench.ask()) == ["b"]
    assert said in error_of(bench)


def test_no_site_can_change_the_model_of_another_or_of_the_server(make: Make) -> None:
    do = """
    from fedtrack.client import backend
    file = backend.current()._file
    for change in (lambda: os.pwrite(file, b"x" * 400, 0), lambda: os.ftruncate(file, 8),
                   lambda: os.pwrite(os.open(f"/proc/self/fd/{file}", os.O_RDWR), b"x", 0)):
        try:
            change()
        except OSError:
            pass
        else:
            sys.exit("the file of all sites could be changed")
    """
    answers = make(do.strip()).ask()
    assert {site: answer.model.params["w"].tolist() for site, answer in answers.items() if answer.model.params} == {
        site: [1, 1, 1] for site in "ab"
    }
